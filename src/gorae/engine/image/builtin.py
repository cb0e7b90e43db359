"""The image `host`: a copy-on-write view of this machine.

It has no layers. Its tree is the snapshot `host` (storage/snapshot/host.py), its configuration is made from what this machine
says of itself, and its id changes when the machine becomes another (an upgrade of the distribution). It takes no space and
cannot be removed.
"""

from __future__ import annotations

import os

from gorae.engine.image.record import SECOND, rfc3339
from gorae.linux import system
from gorae.oci import imageconfig
from gorae.oci.platform import of_machine

NAME = "host:latest"
REPOSITORY = "host"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHELLS = ("/bin/bash", "/bin/sh")


def configuration(root: str = "/") -> bytes:
    """The same bytes each time, as long as the machine is the same."""
    about = system.os_release(root)
    platform = of_machine(system.machine())
    shell = next((shell for shell in SHELLS if os.path.exists(root.rstrip("/") + shell)), SHELLS[-1])
    title = about.get("PRETTY_NAME") or about.get("NAME") or "Linux"
    labels = {
        "org.opencontainers.image.title": REPOSITORY,
        "org.opencontainers.image.description": f"a copy-on-write view of this machine ({title})",
    }
    since = _since(root)
    config = imageconfig.ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        rootfs=imageconfig.RootFS("layers"),
        config=imageconfig.Config(Env=(PATH,), Cmd=(shell,), Labels=labels),
        created=since,
        author="gorae",
        history=(imageconfig.History(since, "the files of this machine", comment=title, empty_layer=True),),
    )
    return imageconfig.encode(config)


def _since(root: str) -> str | None:
    """The distribution is as old as its description."""
    try:
        return rfc3339(int(os.stat(os.path.join(root, "etc/os-release")).st_mtime) * SECOND)
    except OSError:
        return None
