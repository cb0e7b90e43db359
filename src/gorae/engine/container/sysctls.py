"""Which kernel parameters a container may set. Pure; the runtime checks again.

Only those that belong to one of its own namespaces: all others would change the host (CVE-2022-0811 set
kernel.core_pattern that way).
"""

from __future__ import annotations

import re

from gorae import errors
from gorae.engine.container.modes import Sharing

OF_IPC = frozenset(
    f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)
NAME = re.compile(r"[a-z0-9_\-]+(\.[A-Za-z0-9_\-]+)+", re.ASCII)
VALUE = re.compile(r"[ -~\t]{1,256}", re.ASCII)
DEFAULTS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}


def check(sysctls: dict[str, str], shared: Sharing) -> None:
    """InvalidArgument in Docker's words."""
    for name, value in sysctls.items():
        if not NAME.fullmatch(name) or not VALUE.fullmatch(value):
            raise errors.InvalidArgument(f"invalid sysctl: {ascii(name)[1:-1][:80]}={ascii(value)[1:-1][:80]}")
        if name in OF_IPC or name.startswith("fs.mqueue."):
            if shared.ipc != "private":
                raise errors.InvalidArgument(f"sysctl '{name}' not allowed with host ipc namespace")
        elif name.startswith("net."):
            if shared.network != "private":
                raise errors.InvalidArgument(f"sysctl '{name}' not allowed with host net namespace")
        else:
            raise errors.InvalidArgument(f"sysctl '{name}' is not whitelisted: it does not belong to a namespace of the container")


def chosen(sysctls: dict[str, str], shared: Sharing) -> dict[str, str]:
    """What is written: Docker's defaults for a network of its own, then the wish."""
    return (DEFAULTS if shared.network == "private" else {}) | sysctls
