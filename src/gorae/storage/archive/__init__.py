"""Archives from outside, which are hostile, and archives for outside, which are reproducible.

In here: `reader` and `writer` (tar), `compression`, `unpack` (asks a bounded `worker` process), `pack` (a tree to a tar),
`whiteout`, and the image archives: `docker_archive`, `oci_layout`. Not in here: names of images and what happens to them
(engine/image). Start at `unpack.py`, then `worker.py`.
"""
