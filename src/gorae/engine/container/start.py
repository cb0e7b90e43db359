"""What a start says to the supervisor, and what its failure means to Docker's clients."""

from __future__ import annotations

from typing import NamedTuple

from gorae import errors
from gorae.engine.config import parse_bytes
from gorae.engine.container import log_copies, modes, spec
from gorae.engine.container.entries import Entries
from gorae.engine.container.facts import device_nodes, host_devices
from gorae.engine.container.model import Container
from gorae.engine.container.premises import Premises
from gorae.oci import runtimespec
from gorae.supervisor.protocol import Log, RootMount, StartRequest, Stdio, Streams

# OCI's word → the kernel's, for /proc/PID/ns.
KERNEL_WORD = {"network": "net", "pid": "pid", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup"}


class Failure(NamedTuple):
    exit_code: int
    message: str


async def prepare(
    container: Container, premises: Premises, entries: Entries, attach: tuple[Streams, ...], explain: bool
) -> StartRequest:
    """Look around, make what a start needs on this machine (its networks, too), and put the request together."""
    found = look_around(container, premises, entries, await premises.networking.plug(container))
    premises.make_bind_sources(container)
    premises.open_runtime(container)
    return request(container, premises, found, attach=attach, explain=explain)


def look_around(container: Container, premises: Premises, entries: Entries, network: str = "") -> spec.Found:
    """Conflict in Docker's words when a namespace is to be shared with a container that does not run.

    `network` is the path of a network namespace that waits for it; "": the birth makes one, or joins another container's.
    """
    joined = {"network": network} if network else {}
    for kind, reference in modes.sharing(container.config).joined().items():
        other = entries.find(reference).container
        if not other.state.running:
            raise errors.Conflict(f"cannot join {kind} of a non running container: {other.id}")
        joined[kind] = f"/proc/{other.state.pid}/ns/{KERNEL_WORD[kind]}"
    devices: list[tuple[runtimespec.Device, str]] = []
    if container.config.privileged:
        devices += [(node, "rwm") for node in host_devices()]
    for device in container.config.devices:
        devices += [(node, device.cgroup_permissions or "rwm") for node in device_nodes(device)]
    return spec.Found(
        joined=joined,
        devices=tuple({node.path: (node, access) for node, access in devices}.values()),
        throttles=premises.facts.throttles(container.config.resources),
        rootfs=tuple(RootMount(mount.type, mount.source, mount.options) for mount in premises.root_mounts(container)),
        root=str(premises.runtime_directory(container.id) / "rootfs"),
    )


def request(
    container: Container, premises: Premises, found: spec.Found, *, attach: tuple[Streams, ...] = (), explain: bool = False
) -> StartRequest:
    config = container.config
    height, width = config.console_size
    return StartRequest(
        container=container.id,
        directory=str(premises.runtime_directory(container.id)),
        spec=runtimespec.encode(spec.specification(container, premises.config, premises.facts, found)),
        context=spec.context(container, premises.config, found),
        stdio=Stdio(tty=config.tty, stdin=config.open_stdin, stdin_once=config.stdin_once, height=height, width=width),
        log=log_of(container, premises.facts.hostname),
        attach=attach,
        explain=explain,
    )


def log_of(container: Container, hostname: str) -> Log:
    """Docker's defaults for `local`, where nothing is said: at most 5 files of 20 MB; json-file has no bound then."""
    if container.log_driver == "none":
        return Log(driver="none")
    options = container.log_options
    unbounded = container.log_driver == "json-file"
    return Log(
        driver="local",
        path=container.records_path or container.log_path,
        max_size=parse_bytes(options["max-size"]) if "max-size" in options else log_copies.UNLIMITED if unbounded else 20 << 20,
        max_file=int(options.get("max-file", "2" if unbounded else "5")),
        copy=log_copies.copy_of(container, hostname),
    )


def explain_failure(failure: BaseException) -> Failure:
    """Docker's exit code for a container that was never born: 127 no such program, 126 not executable, 128 anything else."""
    code = 127 if isinstance(failure, errors.CommandNotFound) else 126 if isinstance(failure, errors.CommandNotExecutable) else 128
    return Failure(code, str(failure))
