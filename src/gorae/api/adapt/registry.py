"""Registries: credentials from the wire, the lines of pull and push, `GET /distribution/{name}/json`."""

from __future__ import annotations

import base64
import binascii

from msgspec import UNSET, field

from gorae.engine.image import model
from gorae.engine.remote.rules import Credentials
from gorae.errors import InvalidArgument
from gorae.wire import progress
from gorae.wire.auth import AuthConfig
from gorae.wire.codec import Shape
from gorae.wire.image import Descriptor


class Platform(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """OCI's own spelling."""

    architecture: str = field(name="architecture")
    os: str = field(name="os")
    variant: str = field(name="variant", default="")


class Distribution(Shape, frozen=True, kw_only=True):
    descriptor: Descriptor
    platforms: list[Platform] = []


class Tagged(Shape, frozen=True, kw_only=True):
    """What a push tells machines (`aux`)."""

    tag: str
    digest: str
    size: int


def credentials(given: AuthConfig) -> Credentials:
    username, password = given.username, given.password
    if given.auth and not username:
        try:
            username, _, password = base64.b64decode(given.auth).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise InvalidArgument("auth is not base64 of name:password") from None
    if any(ord(letter) < 32 for letter in username + password + given.identity_token + given.registry_token):
        raise InvalidArgument("credentials have control characters")
    return Credentials(username, password, given.identity_token, given.registry_token, given.server_address)


def distribution(found: model.RemoteImage) -> Distribution:
    return Distribution(
        descriptor=Descriptor(media_type=found.media_type, digest=found.digest, size=found.size),
        platforms=[Platform(os=system, architecture=machine, variant=variant) for system, machine, variant in found.platforms],
    )


def pull_line(step: model.Progress | model.Pulled) -> bytes:
    return b"" if isinstance(step, model.Pulled) else _step(step)


def push_line(step: model.Progress | model.Pushed) -> bytes:
    if isinstance(step, model.Pushed):
        aux = Tagged(tag=step.tag, digest=step.digest, size=step.size)
        return progress.line(progress.Line(progress_detail=progress.ProgressDetail(), aux=aux))
    return _step(step)


def _step(step: model.Progress) -> bytes:
    """Docker gives a detail, if an empty one, to whatever has an id, but for the first line."""
    plain = not step.id or step.status.startswith("Pulling from ")
    detail = UNSET if plain else progress.ProgressDetail(current=step.current, total=step.total)
    return progress.line(progress.Line(status=step.status, progress_detail=detail, id=step.id or UNSET))
