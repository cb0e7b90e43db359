"""Docker's words for what a container's state does not allow, and the attributes of its events. Pure."""

from __future__ import annotations

from typing import Literal

from gorae.engine.container.model import Container

Deed = Literal["start", "exit", "backoff", "settle", "pause", "unpause", "remove", "fail"]


def event_attributes(container: Container) -> dict[str, str]:
    return container.labels | {"image": container.config.image, "name": container.name}


def refusal(container: Container, deed: Deed) -> str:
    """Docker's words."""
    status, identity = container.state.status, container.id
    match deed:
        case "start" if status == "paused":
            return "cannot start a paused container, try unpause instead"
        case "start":
            return f"container is marked for removal and cannot be started: {identity}"
        case "pause" if status == "paused":
            return f"container {identity} is already paused"
        case "pause" if status == "restarting":
            return f"container {identity} is restarting, wait until the container is running"
        case "pause":
            return f"container {identity} is not running"
        case "unpause":
            return f"Container {identity} is not paused"
        case _:
            return f"container {identity} is {status}: cannot {deed}"


def cannot_remove(container: Container) -> str:
    """Without `force`. Clients of different ages look for different halves of this."""
    paused = container.state.status == "paused"
    kind, verb = ("paused", "Unpause and then stop") if paused else ("running", "Stop")
    return (
        f'cannot remove container "/{container.name}": container is {kind}: You cannot remove a {kind} container '
        f"{container.id}. {verb} the container before attempting removal or force remove"
    )
