"""File trees in layers.

In here: `snapshotter` (the interface, which is its specification), `overlay` (the one on overlayfs), `host` (the machine's own
tree as a parent). Not in here: mounting: a snapshotter *returns* mounts, the container's own mount namespace makes them. Start
at `snapshotter.py`.
"""
