"""A wish and an image, merged as Docker does. Pure.

entrypoint   the wish's, if it has one; then the image's cmd is not taken. ("",) resets it
command      the wish's; the image's only when neither entrypoint nor command was given
environment  the wish's, then the image's names that it does not have
labels, exposed ports, volumes      both, the wish's label wins
user, working directory, stop signal      the image's when the wish has none
"""

from __future__ import annotations

import posixpath
from typing import NamedTuple

from gorae import errors
from gorae.engine.container.model import ContainerConfig
from gorae.engine.image.model import ImageConfig


class Merged(NamedTuple):
    path: str
    arguments: tuple[str, ...]
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...] | None
    environment: tuple[str, ...]
    working_directory: str
    user: str
    labels: dict[str, str]
    stop_signal: str
    exposed_ports: tuple[str, ...]
    volumes: tuple[str, ...]


def merge(config: ContainerConfig, image: ImageConfig) -> Merged:
    """Raises InvalidArgument (`no command specified`) when there is nothing to run."""
    entrypoint, command = config.entrypoint, config.command
    if not entrypoint:
        if not command:
            command = image.cmd
        if entrypoint is None:
            entrypoint = image.entrypoint
    if entrypoint == ("",):
        entrypoint = None
    words = (*(entrypoint or ()), *(command or ()))
    if not words:
        raise errors.InvalidArgument("no command specified")
    return Merged(
        path=words[0],
        arguments=words[1:],
        entrypoint=entrypoint,
        command=command,
        environment=environment(config.environment, image.env),
        working_directory=working_directory(config.working_directory or image.working_dir),
        user=config.user or image.user,
        labels=dict(image.labels) | config.labels,
        stop_signal=config.stop_signal or image.stop_signal,
        exposed_ports=tuple(dict.fromkeys((*config.exposed_ports, *image.exposed_ports))),
        volumes=tuple(dict.fromkeys((*config.volumes, *image.volumes))),
    )


def environment(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """`first`, and of `second` the names that `first` does not have. A word without "=" takes the name away from `second`."""
    names = {word.partition("=")[0] for word in first}
    return (*first, *(word for word in second if word.partition("=")[0] not in names))


def overlaid(defaults: tuple[str, ...], words: tuple[str, ...]) -> tuple[str, ...]:
    """What a process gets: `defaults` in their order, replaced or (a word without "=") removed by `words`, whose last word on a
    name counts.
    """
    values: dict[str, str | None] = {}
    for word in (*defaults, *words):
        name, equals, _ = word.partition("=")
        values[name] = word if equals else None
    return tuple(word for word in values.values() if word is not None)


def working_directory(path: str) -> str:
    """Cleaned and absolute; InvalidArgument in Docker's words."""
    if not path:
        return ""
    if not path.startswith("/"):
        raise errors.InvalidArgument(f"the working directory '{ascii(path)[1:-1]}' is invalid, it needs to be an absolute path")
    return posixpath.normpath(path).replace("//", "/")
