"""`ps --filter`. Pure.

id name      prefix, part (a regular expression, as Docker has it)        label     key or key=value, all of them
status       one of the states                                            ancestor  image name, id or prefix of an id
exited       exit code of a container that ended                          before, since   another container
volume       destination or source of a mount                             expose, publish  ports as asked for
network      the network's name                                           health, is-task  its status or none, only false
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from gorae import errors
from gorae.engine.container.model import Container
from gorae.engine.filters import Filters, boolean, check_keys, matches_any, matches_labels

KNOWN = frozenset(
    (
        *("id", "name", "label", "status", "ancestor", "exited", "before", "since", "volume", "network"),
        *("health", "is-task", "expose", "publish", "isolation"),
    )
)
STATUSES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")


def check(filters: Filters) -> None:
    check_keys(filters, KNOWN)
    for status in filters.get("status", ()):
        if status not in STATUSES:
            raise errors.InvalidArgument(f"invalid filter 'status={status}'")
    for code in filters.get("exited", ()):
        if not re.fullmatch(r"-?[0-9]{1,9}", code, re.ASCII):
            raise errors.InvalidArgument(f"invalid filter 'exited={code}'")
    for health in filters.get("health", ()):
        if health not in ("starting", "healthy", "unhealthy", "none"):
            raise errors.InvalidArgument(f"invalid filter 'health={health}'")
    for pattern in filters.get("name", ()):
        _pattern(pattern)
    boolean(filters, "is-task", False)


def select(
    containers: Sequence[Container],
    filters: Filters,
    *,
    all: bool,
    find: Callable[[str], Container],
    image_id: Callable[[str], str | None],
) -> list[Container]:
    """Newest first. `find` resolves before and since (NotFound), `image_id` an ancestor (None: no such image)."""
    check(filters)
    wants_status = "status" in filters or "exited" in filters
    ancestors = {image_id(reference) or reference for reference in filters.get("ancestor", ())}
    before = min((find(reference).created_at for reference in filters.get("before", ())), default=None)
    since = max((find(reference).created_at for reference in filters.get("since", ())), default=None)
    chosen = [
        container
        for container in containers
        if (all or wants_status or before is not None or since is not None or container.state.running or _restarting(container))
        and (before is None or container.created_at < before)
        and (since is None or container.created_at > since)
        and (not ancestors or container.image_id in ancestors or container.config.image in ancestors)
        and matches(container, filters)
    ]
    return sorted(chosen, key=lambda container: (container.created_at, container.id), reverse=True)


def _restarting(container: Container) -> bool:
    return container.state.status == "restarting"


def matches(container: Container, filters: Filters) -> bool:
    """What needs no other container and no image."""
    names = (container.name, f"/{container.name}")
    state = container.state
    if (wanted := filters.get("id", ())) and not any(value and container.id.startswith(value) for value in wanted):
        return False
    if (wanted := filters.get("name", ())) and not any(_pattern(value).search(name) for value in wanted for name in names):
        return False
    if (wanted := filters.get("exited", ())) and not (
        state.status == "exited" and state.exit_code in {int(value) for value in wanted}
    ):
        return False
    if (wanted := filters.get("volume", ())) and not any(
        value in (point.destination, point.source, point.name) for value in wanted for point in container.mounts
    ):
        return False
    return (
        matches_any(container.state.status, filters.get("status", ()))
        and matches_labels(container.labels, filters.get("label", ()))
        and matches_any(state.health.status if state.health else "none", filters.get("health", ()))
        and matches_any(_network(container), filters.get("network", ()))
        and _has_port(container.exposed_ports, filters.get("expose", ()))
        and _has_port(tuple(container.config.port_bindings), filters.get("publish", ()))
        and not boolean(filters, "is-task", False)
    )


def _network(container: Container) -> str:
    mode = container.config.network_mode
    return "bridge" if mode in ("", "default") else mode


def _has_port(ports: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return not wanted or any(port in (value, f"{value}/tcp") for value in wanted for port in ports)


def _pattern(value: str) -> re.Pattern[str]:
    if len(value) > 256:
        raise errors.InvalidArgument("invalid filter 'name': longer than 256 characters")
    try:
        return re.compile(value)
    except (re.error, OverflowError, RecursionError):
        return re.compile(re.escape(value))
