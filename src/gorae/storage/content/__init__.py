"""Blobs by digest.

In here: `store` (ingest, open, delete), `lease` (what is being assembled is not garbage), `garbage` (mark and sweep). Not in
here: what the blobs say. Start at `store.py`.
"""
