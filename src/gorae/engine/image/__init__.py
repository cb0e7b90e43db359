"""Images: names, configurations and the trees below them.

    images       the library: list, get, history, rootfs, import, load, save, tag, remove, prune
    model        its types · record, catalogue: how they are kept and found
    importing, loading, saving, removal, layers    the work
    builtin      the image `host` · changes: Dockerfile instructions applied to a configuration

Not in here: HTTP, registries, and how layers lie on disk (storage). Start at `images.py`.
"""
