"""Credentials for registries: the body of `POST /auth` and the `X-Registry-Auth` header.

`AuthConfig` never shows its password: a repr ends up in logs (CVE-2019-13509).
"""

from __future__ import annotations

import base64
import binascii

from msgspec import field

from gorae.errors import InvalidArgument
from gorae.wire.codec import Shape, decode


class AuthConfig(Shape, frozen=True, kw_only=True):
    username: str = field(default="", name="username")
    password: str = field(default="", name="password")
    auth: str = field(default="", name="auth")
    server_address: str = field(default="", name="serveraddress")
    identity_token: str = field(default="", name="identitytoken")
    registry_token: str = field(default="", name="registrytoken")

    def __repr__(self) -> str:
        return f"AuthConfig({self.username!r} at {self.server_address!r})"


class AuthResponse(Shape, frozen=True, kw_only=True):
    status: str
    identity_token: str = ""


def decode_header(value: str) -> AuthConfig:
    """The `X-Registry-Auth` header: URL-safe base64 of JSON, with or without padding; empty means anonymous."""
    if not value or value == "null":
        return AuthConfig()
    try:
        data = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        raise InvalidArgument("invalid X-Registry-Auth header: not base64") from None
    return decode(AuthConfig, data, limit=64 << 10)
