"""Containers: wishes, records and their life.

    life.py         THE DOCKER STORY: state table, create → start → exit → remove, and the undo of each step
    containers.py   `Containers`, what the API and the library call: find, list, wait, attach, exec, logs
    model.py        the values · record.py  rows in the database
    spec.py         pure: a wish + an image + facts → the OCI specification (parts in spec_*.py)
    options.py      pure: the checks at create, with Docker's words
    names.py        names · filter.py  `ps --filter` · restart_policy.py  back-off
    supervision.py  starts, reconnects to and replaces the supervisor

Not here: system calls (the supervisor makes them), HTTP, images.
"""
