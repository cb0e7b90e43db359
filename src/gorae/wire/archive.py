"""Copying: what a path is, as the header `X-Docker-Container-Path-Stat` says it (base64 of this JSON), and a commit's answer."""

from __future__ import annotations

from msgspec import field

from gorae.wire.codec import Shape

HEADER = "X-Docker-Container-Path-Stat"


class PathStat(Shape, frozen=True, kw_only=True):
    """`mode` has the bits of Go's io/fs.FileMode."""

    name: str = field(name="name")
    size: int = field(name="size")
    mode: int = field(name="mode")
    mtime: str = field(name="mtime")
    link_target: str = field(name="linkTarget")


class CommitResponse(Shape, frozen=True, kw_only=True):
    id: str
