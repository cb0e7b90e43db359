"""Everything that is kept on disk below the data root: records, blobs, file trees, archives.

In here: `db/` (SQLite, one writer thread), `content/` (blobs by digest), `snapshot/` (layers as overlay directories),
`archive/` (tar, compression and the image archive formats), `root` (the data root: its lock, and the parts opened together).
Not in here: what an image or a container *means* (engine), and any mount: a snapshotter only says which mounts make a tree.

Start at `root.py`, which draws the directories.
"""
