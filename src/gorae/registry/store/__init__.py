"""Where a registry's bytes lie.

    seam        what is asked of a store: the one interface, and what it promises
    directory   a directory: files appended to, linked and renamed; sendfile
    bucket      S3, GCS, Azure and whatever else obstore speaks
    opening     from a path or a URL to a store

Knows nothing of repositories or images. Start with `seam`.
"""
