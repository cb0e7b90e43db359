"""Larger sizes of what tests/daemon and tests/reliability do at every commit; one command each, a table with the pass figures.

    python -m tests.soak.kills --rounds 1000      the daemon is killed under a mixed load
    python -m tests.soak.runs --count 10000       nothing grows and nothing is left
    python -m tests.soak.chatty --seconds 60      a container writes 10 MB/s while the daemon is dead
    python -m tests.soak.mixed --minutes 60       load, and a random fault every few seconds
    python -m tests.soak.races                    swaps while in use
    python -m tests.soak.schema                   requests made from the API's description
"""
