"""Images: names, configurations and the trees below them.

In here: `model` (the types), `images` (the library: list, get, import, load, save, tag, remove, history, prune), `builtin`
(the image `host`), `changes` (Dockerfile instructions applied to a configuration). Not in here: HTTP, registries, and how
layers lie on disk (storage). Start at `images.py`.
"""
