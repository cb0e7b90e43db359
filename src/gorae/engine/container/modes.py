"""How a container shares namespaces: `--network`, `--pid`, `--ipc`, `--uts`, `--cgroupns`, `--userns`. Pure.

""  none  private  shareable        a namespace of its own
host                                the host's: no namespace
container:REFERENCE                 that of a running container
"""

from __future__ import annotations

from typing import NamedTuple

from gorae import errors
from gorae.engine.container.model import ContainerConfig

BRIDGES = ("", "default", "bridge", "nat")
JOIN = "container:"


class Sharing(NamedTuple):
    """For each kind of namespace (OCI's word): "private", "host" or "container:REFERENCE"."""

    network: str
    pid: str
    ipc: str
    uts: str
    cgroup: str

    def joined(self) -> dict[str, str]:
        """The kinds that come from another container, and its reference."""
        return {kind: mode.removeprefix(JOIN) for kind, mode in self._asdict().items() if mode.startswith(JOIN)}


def sharing(config: ContainerConfig) -> Sharing:
    """InvalidArgument in Docker's words for an unknown mode. Whatever network it is plugged into, its namespace is its own."""
    network = config.network_mode
    if config.network_disabled or (network != "host" and not _joins(network, "network")):
        network = "private"
    return Sharing(
        network=network,
        pid=_mode("PID", config.pid_mode, ("private",)),
        ipc=_mode("IPC", config.ipc_mode, ("private", "shareable", "none")),
        uts=_mode("UTS", config.uts_mode, ("private",), joins=False),
        cgroup=_mode("cgroup namespace", config.cgroupns_mode, ("private",), joins=False),
    )


def check(config: ContainerConfig) -> None:
    """Conflicting options, in Docker's words."""
    shared = sharing(config)
    if config.userns_mode not in ("", "host"):
        raise errors.InvalidArgument(f"invalid user namespace mode: {ascii(config.userns_mode)[1:-1]}")
    if shared.uts == "host" and config.hostname:
        raise errors.InvalidArgument("conflicting options: hostname and the UTS mode")
    if shared.network.startswith(JOIN):
        for name, given in (
            ("hostname and the network mode", config.hostname),
            ("dns and the network mode", config.dns),
            ("custom host-to-IP mapping and the network mode", config.extra_hosts),
            ("port publishing and the container type network mode", config.port_bindings or config.publish_all_ports),
            ("container type network can't be used with links. This would result in undefined behavior", config.links),
        ):
            if given:
                raise errors.InvalidArgument(f"conflicting options: {name}")


def wants_bridge(config: ContainerConfig) -> bool:
    return config.network_mode in BRIDGES and not config.network_disabled


def _mode(what: str, mode: str, private: tuple[str, ...], *, joins: bool = True) -> str:
    if mode == "" or mode in private:
        return "private"
    if mode == "host" or (joins and _joins(mode, what)):
        return mode
    raise errors.InvalidArgument(f"invalid {what} mode: {ascii(mode)[1:-1]}")


def _joins(mode: str, what: str) -> bool:
    if not mode.startswith(JOIN):
        return False
    if mode == JOIN:
        raise errors.InvalidArgument(f"invalid {what} mode: container:NAME needs a name")
    return True
