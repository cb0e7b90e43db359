"""Volumes."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from gorae.wire.codec import Shape


class UsageData(Shape, frozen=True, kw_only=True):
    size: int = -1
    ref_count: int = -1


class Volume(Shape, frozen=True, kw_only=True):
    name: str
    driver: str = "local"
    mountpoint: str = ""
    created_at: str = ""
    labels: dict[str, str] | None = None
    scope: str = "local"
    options: dict[str, str] | None = None
    usage_data: UsageData | UnsetType = UNSET


class VolumeCreateRequest(Shape, frozen=True, kw_only=True):
    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class VolumeListResponse(Shape, frozen=True, kw_only=True):
    volumes: list[Volume]
    warnings: list[str] | None = None
