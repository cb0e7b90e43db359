"""The tests mirror the source.

`running` starts a daemon, `census` counts what a test leaves behind, `peers` installs the programs of others.
"""
