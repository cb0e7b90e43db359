"""Archives from outside, which are hostile, and archives for outside, which are reproducible.

    reader, writer, pax, sparse, entry    tar; pure
    compression, zstd                     told apart by their first bytes, read in bounded portions
    unpack, worker, extract, whiteout     a layer becomes a directory, in a process that can do nothing else
    members, image_archive                docker-archive and OCI layout: as they arrive, and what is in them

Not in here: names of images and what happens to them (engine/image). Start at `unpack.py`, then `worker.py`.
"""
