"""The engine: containers and images as an asynchronous library.

Start at `engine.py` (`Engine.open`); the story of a container is `container/life.py`, that of an image `image/pull.py`.

    engine.py      opens and closes everything
    restore.py     what a fresh daemon does with what it finds · system.py  info, version, data
    container/     the Docker side of a container's life
    image/         names, content and snapshots of images
    config.py      daemon.json · events.py  the bounded ring · filters.py  `--filter` words

It knows no HTTP and no Docker JSON; values are frozen msgspec structs in snake_case, errors are `gorae.errors`.
"""
