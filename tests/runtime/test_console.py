"""Terminals and PID 1."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
from pathlib import Path
from typing import Any

import pytest

from gorae.errors import BirthError
from gorae.linux import tty
from gorae.oci import runtimespec
from gorae.runtime import birth
from gorae.runtime.birth import Context, Living
from tests.runtime import stage

pytestmark = pytest.mark.kernel


def read_all(master: int) -> str:
    """Until the last process has closed the terminal (EIO)."""
    data = b""
    poll = select.poll()
    poll.register(master, select.POLLIN)
    while True:
        assert poll.poll(30_000), data
        try:
            data += os.read(master, 65536)
        except OSError:
            return data.decode().replace("\r\n", "\n")


def read_until(master: int, word: str) -> str:
    data = b""
    poll = select.poll()
    poll.register(master, select.POLLIN)
    while word.encode() not in data:
        assert poll.poll(30_000), data
        data += os.read(master, 65536)
    return data.decode()


def on_terminal(image: Path, context: Context, script: str, **process: Any) -> stage.Running:
    document = stage.config(image, "sh", "-c", script, terminal=True, **process)
    return stage.Running(birth.plan(stage.with_seccomp(document), context), cgroup=context.cgroup)


def test_a_terminal_of_its_own(image: Path, context: Context) -> None:
    script = "tty; stty size; stat -c %F /dev/console; test -t 0 && test -t 1 && test -t 2 && echo all; echo direct > /dev/tty"
    with on_terminal(image, context, script, consoleSize={"height": 33, "width": 121}) as running:
        assert running.nascent is not None
        assert running.nascent.console is not None
        assert tty.window_size(running.nascent.console) == (33, 121)
        said = read_all(running.nascent.console).split("\n")
        assert running.finish().status == 0
    assert said[:3] == ["/dev/pts/0", "33 121", "character special file"]
    assert {"all", "direct"} <= set(said)


def test_the_terminal_controls(image: Path, context: Context) -> None:
    """Ctrl-C reaches the program; the window size can change."""
    script = "trap 'echo got INT; exit 3' INT; trap 'stty size' WINCH; echo ready; while true; do sleep 0.02; done"
    with on_terminal(image, context, script) as running:
        assert running.nascent is not None
        console = running.nascent.console
        assert console is not None
        read_until(console, "ready")
        tty.set_window_size(console, 11, 22)
        assert "11 22" in read_until(console, "11 22")
        os.write(console, b"\x03")
        read_until(console, "got INT")
        assert running.finish().status == 3


def test_a_terminal_for_a_user(image: Path, context: Context) -> None:
    context = dataclasses.replace(context, user="alice")
    with on_terminal(image, context, "stat -c %u $(tty); echo ok > /dev/console; echo ok2 > $(tty)") as running:
        assert running.nascent is not None
        assert running.nascent.console is not None
        said = read_all(running.nascent.console)
        assert running.finish().status == 0
    assert said.split("\n")[:3] == ["1000", "ok", "ok2"]


@pytest.mark.parametrize("trap", ["link", "directory"])
def test_a_hostile_console(rootfs: Path, context: Context, tmp_path: Path, trap: str) -> None:
    """CVE-2025-52565: /dev is a fresh tmpfs; where it is the image's, the bind goes to a descriptor inside."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    if trap == "link":
        (rootfs / "dev/console").symlink_to(victim)
    else:
        (rootfs / "dev/console").mkdir()
    document = stage.config(rootfs, "true", terminal=True)
    document["mounts"] = [each for each in document["mounts"] if each["destination"] != "/dev"]
    (rootfs / "dev/pts").mkdir()
    (rootfs / "dev/shm").mkdir()
    (rootfs / "dev/mqueue").mkdir()
    try:
        with stage.Running(birth.plan(runtimespec.decode(document), context), cgroup=context.cgroup) as running:
            assert running.nascent is not None
            assert running.nascent.console is not None
            read_all(running.nascent.console)
            running.finish()
    except BirthError:
        pass
    assert victim.read_text() == "untouched"


def test_an_exec_with_a_terminal(image: Path, context: Context) -> None:
    spec = stage.with_seccomp(stage.config(image, "sleep", "1000"))
    with stage.Running(birth.plan(spec, context), cgroup=context.cgroup) as first:
        assert first.nascent is not None
        process = runtimespec.decode_process(
            {
                "args": ["sh", "-c", "tty; stty size"],
                "cwd": "/",
                "env": ["PATH=/bin"],
                "terminal": True,
                "consoleSize": {"height": 5, "width": 6},
            }
        )
        with stage.Running(birth.plan_exec(process, Living(first.nascent.pid, spec), context)) as second:
            assert second.nascent is not None
            assert second.nascent.console is not None
            assert read_all(second.nascent.console).split("\n")[:2] == ["/dev/pts/0", "5 6"]
            assert second.finish().status == 0


def test_init_reaps_and_ends_with_the_program(image: Path, context: Context) -> None:
    context = dataclasses.replace(context, init=True)
    script = "echo $$; (sh -c 'sleep 0.1 & exit' &) ; sleep 0.4; ps -o pid,stat | grep -c Z; cat /proc/1/comm; exit 5"
    outcome = stage.run(stage.with_seccomp(stage.config(image, "sh", "-c", script)), context)
    assert outcome.lines == ["2", "0", "init"]
    assert outcome.status == 5


def test_init_forwards_signals(image: Path, context: Context) -> None:
    context = dataclasses.replace(context, init=True)
    script = "trap 'echo got TERM; exit 6' TERM; trap 'echo got USR1' USR1; echo ready; while true; do sleep 0.02; done"
    with stage.Running(
        birth.plan(stage.with_seccomp(stage.config(image, "sh", "-c", script)), context), cgroup=context.cgroup
    ) as running:
        assert running.nascent is not None
        assert os.read(running.read_out, 100) == b"ready\n"
        os.kill(running.nascent.pid, signal.SIGUSR1)
        assert os.read(running.read_out, 100) == b"got USR1\n"
        os.kill(running.nascent.pid, signal.SIGTERM)
        outcome = running.finish()
    assert (outcome.output, outcome.status) == ("got TERM\n", 6)


def test_init_tells_a_death_by_signal(image: Path, context: Context) -> None:
    outcome = stage.run(stage.config(image, "sh", "-c", "kill -9 $$"), dataclasses.replace(context, init=True))
    assert outcome.status == 137


def test_init_of_a_user_gives_nothing_away(image: Path, context: Context) -> None:
    """PID 1 is the machine's Python: non-dumpable, so its files belong to root of the machine; and it has no more rights than
    the program.
    """
    context = dataclasses.replace(context, init=True, user="alice")
    script = "readlink /proc/1/exe; ls /proc/1/fd; cat /proc/1/environ; grep -E 'Uid|CapEff|CapBnd|Seccomp:' /proc/1/status"
    outcome = stage.run(stage.with_seccomp(stage.config(image, "sh", "-c", script)), context)
    assert outcome.lines == [
        *("Uid:\t1000\t1000\t1000\t1000", "CapEff:\t0000000000000000", "CapBnd:\t00000000a80425fb", "Seccomp:\t2"),
    ]
    assert outcome.error.count("ermission denied") >= 2


def test_init_of_root_cannot_be_opened(image: Path, context: Context) -> None:
    context = dataclasses.replace(context, init=True)
    outcome = stage.run(
        stage.with_seccomp(stage.config(image, "sh", "-c", "readlink /proc/1/exe; wc -c < /proc/1/environ; ls -l /proc/1/fd/")),
        context,
    )
    assert "python" not in outcome.output
    assert "total 0" in outcome.output or outcome.output == ""


def test_init_on_a_terminal(image: Path, context: Context) -> None:
    context = dataclasses.replace(context, init=True)
    with on_terminal(image, context, "trap 'echo got INT; exit 3' INT; echo ready; while true; do sleep 0.02; done") as running:
        assert running.nascent is not None
        console = running.nascent.console
        assert console is not None
        read_until(console, "ready")
        os.write(console, b"\x03")
        read_until(console, "got INT")
        assert running.finish().status == 3


def test_a_missing_command_with_init(image: Path, context: Context) -> None:
    error = stage.failure(stage.config(image, "missing"), dataclasses.replace(context, init=True))
    assert "executable file not found" in str(error)
