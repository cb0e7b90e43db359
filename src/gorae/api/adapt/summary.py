"""The engine's containers → the rows of `GET /containers/json`."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from gorae.api.adapt import network
from gorae.api.adapt.inspect import mount_point
from gorae.api.adapt.moment import NANOSECONDS, human_duration
from gorae.engine.container import model
from gorae.engine.networks import Joined
from gorae.wire import container
from gorae.wire.versions import Version


def summary(value: model.Container, joined: Sequence[Joined], version: Version, now: int) -> container.Summary:
    """`now` is nanoseconds since the epoch."""
    return container.Summary(
        id=value.id,
        names=[f"/{value.name}"],
        image=value.config.image,
        image_id=value.image_id,
        command=_command(value),
        created=value.created_at // NANOSECONDS,
        ports=network.ports(joined, value.exposed_ports),
        size_rw=value.size_rw or UNSET,
        size_root_fs=UNSET if value.size_root is None else value.size_root,
        labels=value.labels,
        state=value.state.status,
        status=status(value.state, now),
        host_config=container.SummaryHostConfig(
            network_mode=value.config.network_mode, annotations=value.config.annotations or UNSET
        ),
        network_settings=container.SummaryNetworkSettings(networks=network.endpoints(joined)),
        mounts=[mount_point(item) for item in value.mounts],
        health=UNSET if version < (1, 52) else _summary_health(value.state),
    )


def _summary_health(state: model.State) -> container.Health:
    if state.health is None:
        return container.Health()
    return container.Health(status=state.health.status, failing_streak=state.health.failing_streak)


def status(state: model.State, now: int) -> str:
    """The column STATUS of `docker ps`."""
    match state.status:
        case "created":
            return "Created"
        case "running":
            return f"Up {human_duration(now - state.started_at)}{_health(state)}"
        case "paused":
            return f"Up {human_duration(now - state.started_at)} (Paused)"
        case "restarting":
            return f"Restarting ({state.exit_code}) {human_duration(now - state.finished_at)} ago"
        case "removing":
            return "Removal In Progress"
        case "dead":
            return "Dead"
        case _:
            return f"Exited ({state.exit_code}) {human_duration(now - state.finished_at)} ago"


def _health(state: model.State) -> str:
    if state.health is None:
        return ""
    return " (health: starting)" if state.health.status == "starting" else f" ({state.health.status})"


def _command(value: model.Container) -> str:
    words = [f"'{word}'" if " " in word else word for word in value.arguments]
    return " ".join([value.path, *words])
