"""The terminal: made in the container's own devpts, its master sent to the parent.

    /dev/pts/ptmx (of the container) ──open──▶ master ──SCM_RIGHTS──▶ parent
                                       └─TIOCGPTPEER──▶ peer ─▶ 0, 1, 2 and the controlling terminal
                                                        └──────▶ /dev/console, bound from the descriptor (CVE-2025-52565)
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gorae.linux import libc
from gorae.linux.fd import send_message
from gorae.linux.mount import attach, open_tree
from gorae.linux.path import open_in_root
from gorae.linux.system import DEVPTS_SUPER_MAGIC, statfs
from gorae.linux.tty import make_controlling, open_ptmx, set_window_size
from gorae.runtime.masks import COPY
from gorae.runtime.mounts import open_target
from gorae.runtime.terms import Step

if TYPE_CHECKING:
    from gorae.oci.runtimespec import Process
    from gorae.runtime.scene import Scene

CONSOLE = b"c"


def plan(process: Process, bind: bool) -> Iterator[Step]:
    """`bind`: also as /dev/console; not for an exec."""
    if not process.terminal:
        yield Step("use_stdio", (), "standard input, output and error")
        return
    size = process.consoleSize
    yield Step(
        "open_terminal",
        (size.height if size else 0, size.width if size else 0),
        "a terminal of its own /dev/pts; the master goes out to the engine",
    )
    if bind:
        yield Step("bind_console", (), "/dev/console is that terminal")
    yield Step("use_terminal", (), "it is standard input, output, error and the controlling terminal")


# What follows runs in the child.


def use_stdio(scene: Scene) -> None:
    """Two passes: a source may be another one's target."""
    lifted = [os.dup(descriptor) if 0 <= descriptor < len(scene.stdio) else descriptor for descriptor in scene.stdio]
    for target, descriptor in enumerate(lifted):
        _clear_the_way(scene, target)
        os.dup2(descriptor, target, inheritable=True)


def open_terminal(scene: Scene, height: int, width: int) -> None:
    directory = open_in_root(scene.descriptors["root"], "/dev/pts", os.O_PATH | os.O_DIRECTORY)
    try:
        if statfs(directory).type != DEVPTS_SUPER_MAGIC:
            raise libc.failure("open", errno.ENOTTY, "/dev/pts", "a terminal needs a devpts mounted there")
        master, peer = open_ptmx(directory)
    finally:
        os.close(directory)
    scene.keep("terminal", peer)
    try:
        if height or width:
            set_window_size(master, height, width)
        if scene.report is not None:
            send_message(scene.report, CONSOLE, (master,))
    finally:
        os.close(master)


def bind_console(scene: Scene) -> None:
    tree = open_tree(scene.descriptors["terminal"], "", COPY)
    try:
        target = open_target(scene, "/dev/console", False)
        try:
            attach(tree, target)
        finally:
            os.close(target)
    finally:
        os.close(tree)


def use_terminal(scene: Scene) -> None:
    peer = scene.descriptors["terminal"]
    make_controlling(peer)
    for target in (0, 1, 2):
        _clear_the_way(scene, target)
        os.dup2(peer, target, inheritable=True)
    for target, descriptor in enumerate(scene.stdio[3:], 3):
        _clear_the_way(scene, target)
        os.dup2(descriptor, target, inheritable=True)
    scene.drop("terminal")


def _clear_the_way(scene: Scene, target: int) -> None:
    """What the birth itself still needs moves out of a descriptor that the program will have."""
    for name, descriptor in scene.descriptors.items():
        if descriptor == target:
            scene.descriptors[name] = os.dup(descriptor)
    if scene.report is not None and scene.report.fileno() == target:
        raise libc.failure("dup2", errno.EBUSY, f"/proc/self/fd/{target}")


DEEDS: dict[str, Callable[..., object]] = {
    "use_stdio": use_stdio,
    "open_terminal": open_terminal,
    "bind_console": bind_console,
    "use_terminal": use_terminal,
}
