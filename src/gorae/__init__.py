"""Gorae (고래): a container platform in one Python package.

Start at `docs/seams.md` for the rooms, at `runtime/birth.py` for how the kernel makes a container, at
`engine/container/life.py` for what Docker adds, at `cli/` and `daemon/` for the programs.
"""
