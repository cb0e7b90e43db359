"""User namespaces, joined namespaces, clocks, hooks."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gorae.errors import BirthError
from gorae.oci import runtimespec
from gorae.runtime import birth, hooks
from gorae.runtime.birth import Context, Living, RootMount
from tests.runtime import stage

pytestmark = pytest.mark.kernel
BASE = 300_000
MAPS = [{"containerID": 0, "hostID": BASE, "size": 65536}]


def shift(tree: Path) -> None:
    """What the engine does to an image for a remapped root."""
    for directory, names, files in os.walk(tree):
        for name in [*names, *files]:
            status = os.lstat(os.path.join(directory, name))
            os.chown(os.path.join(directory, name), status.st_uid + BASE, status.st_gid + BASE, follow_symlinks=False)
    os.chown(tree, BASE, BASE)


def mapped(document: dict[str, Any]) -> dict[str, Any]:
    document["linux"]["namespaces"].append({"type": "user"})
    document["linux"].update(uidMappings=MAPS, gidMappings=MAPS)
    return document


def test_a_user_namespace(rootfs: Path, context: Context, tmp_path: Path) -> None:
    """Behind a directory that only the machine's root may enter, as the engine's data root is."""
    shift(rootfs)
    (tmp_path / "secret").mkdir(mode=0o700)
    (tmp_path / "secret/file").write_text("bound\n")
    script = (
        "cat /proc/self/uid_map; id -u; touch /made; cat /bound; stat -c '%t:%T %F' /dev/null; echo x > /dev/null && echo wrote;"
        "mknod /x c 1 1; ls -d /proc/keys; hostname; grep -E 'CapEff|CapBnd|Groups' /proc/self/status;"
        "touch /sys/fs/cgroup/memory/x"
    )
    document = mapped(stage.config(rootfs, "sh", "-c", script))
    document["mounts"].append(
        {"destination": "/bound", "type": "bind", "source": str(tmp_path / "secret/file"), "options": ["bind", "ro"]}
    )
    outcome = stage.run(stage.with_seccomp(document), context)
    assert outcome.lines[0].split() == ["0", str(BASE), "65536"]
    assert outcome.lines[1:] == [
        *("0", "bound", "1:3 character special file", "wrote", "/proc/keys", "box"),
        *("Groups:\t0 ", "CapEff:\t00000000a80425fb", "CapBnd:\t00000000a80425fb"),
    ]
    assert "mknod: /x: Operation not permitted" in outcome.error
    assert "/sys/fs/cgroup/memory/x" in outcome.error
    assert (rootfs / "made").stat().st_uid == BASE


def test_a_user_namespace_over_an_overlay(rootfs: Path, context: Context, tmp_path: Path) -> None:
    shift(rootfs)
    for name in ("merged", "upper", "work"):
        (tmp_path / name).mkdir(mode=0o700)
    os.chown(tmp_path / "upper", BASE, BASE)
    (tmp_path / "upper").chmod(0o755)
    mount = RootMount("overlay", "overlay", (f"lowerdir={rootfs}", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work"))
    context = dataclasses.replace(context, rootfs=(mount,), user="alice")
    outcome = stage.run(mapped(stage.config(tmp_path / "merged", "sh", "-c", "id -u; touch /tmp/x && stat -c %u /tmp/x")), context)
    assert outcome.lines == ["1000", "1000"], outcome
    assert (tmp_path / "upper/tmp/x").stat().st_uid == BASE + 1000


def test_exec_in_a_user_namespace(rootfs: Path, context: Context) -> None:
    shift(rootfs)
    spec = runtimespec.decode(mapped(stage.config(rootfs, "sleep", "1000")))
    with stage.Running(birth.plan(spec, context), cgroup=context.cgroup) as running:
        assert running.nascent is not None
        process = runtimespec.decode_process(
            {"args": ["sh", "-c", "id -u; cat /proc/self/uid_map; readlink /proc/self/ns/user"], "cwd": "/", "env": ["PATH=/bin"]}
        )
        with stage.Running(birth.plan_exec(process, Living(running.nascent.pid, spec), context)) as second:
            lines = second.finish().lines
        assert lines[0] == "0"
        assert lines[1].split()[1] == str(BASE)
        assert lines[2] == os.readlink(f"/proc/{running.nascent.pid}/ns/user")


@pytest.fixture
def neighbour(rootfs: Path, context: Context) -> Iterator[int]:
    """The pid of a running container whose namespaces others join; it has a user namespace."""
    shift(rootfs)
    with stage.Running(
        birth.plan(runtimespec.decode(mapped(stage.config(rootfs, "sleep", "1000"))), context), cgroup=context.cgroup
    ) as running:
        assert running.nascent is not None
        yield running.nascent.pid


def another(context: Context) -> Context:
    return dataclasses.replace(context, id=f"{context.id}-b", cgroup=f"{context.cgroup}-b")


@pytest.mark.parametrize("pid_namespace", ["new", "joined", "none"])
def test_joining_a_user_namespace(neighbour: int, rootfs: Path, context: Context, pid_namespace: str) -> None:
    """As in a pod: all that is new belongs to the joined user namespace, so a new pid namespace needs a second birth."""
    kinds = ("user", "mnt", "pid", "net", "uts")
    document = stage.config(
        rootfs,
        "sh",
        "-c",
        f"echo $$; id -u; for n in {' '.join(kinds)}; do readlink /proc/self/ns/$n; done; hostname other && hostname",
    )
    document["process"]["capabilities"] = {
        kind: [*stage.CAPABILITIES, "CAP_SYS_ADMIN"] for kind in ("bounding", "effective", "permitted")
    }
    spaces: list[dict[str, str]] = [
        {"type": "mount"},
        {"type": "uts"},
        {"type": "ipc"},
        {"type": "user", "path": f"/proc/{neighbour}/ns/user"},
    ]
    spaces.append({"type": "network", "path": f"/proc/{neighbour}/ns/net"})
    if pid_namespace != "none":
        spaces.append({"type": "pid"} if pid_namespace == "new" else {"type": "pid", "path": f"/proc/{neighbour}/ns/pid"})
    document["linux"]["namespaces"] = spaces
    document["mounts"] = [each for each in document["mounts"] if each["destination"] not in ("/sys", "/sys/fs/cgroup")]
    if pid_namespace == "none":
        document["mounts"][0] = {"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]}
        document["linux"].update(maskedPaths=[], readonlyPaths=[])
    outcome = stage.run(document, another(context))
    theirs = {kind: os.readlink(f"/proc/{neighbour}/ns/{kind}") for kind in kinds}
    assert outcome.lines[1] == "0", outcome
    found = dict(zip(kinds, outcome.lines[2:7], strict=True))
    assert found["user"] == theirs["user"]
    assert found["net"] == theirs["net"]
    assert found["mnt"] != theirs["mnt"]
    assert found["uts"] != theirs["uts"]
    assert (found["pid"] == theirs["pid"]) == (pid_namespace == "joined")
    assert (outcome.lines[0] == "1") == (pid_namespace == "new")
    assert outcome.lines[7] == "other"


def test_joining_a_network_and_a_pid_namespace(image: Path, context: Context) -> None:
    spec = runtimespec.decode(stage.config(image, "sleep", "1000"))
    with stage.Running(birth.plan(spec, context), cgroup=context.cgroup) as running:
        assert running.nascent is not None
        pid = running.nascent.pid
        document = stage.config(
            image, "sh", "-c", "readlink /proc/self/ns/net; readlink /proc/self/ns/pid; ps | grep -c 'sleep 1000'"
        )
        for each in document["linux"]["namespaces"]:
            if each["type"] in ("network", "pid"):
                each["path"] = f"/proc/{pid}/ns/{'net' if each['type'] == 'network' else 'pid'}"
        outcome = stage.run(document, another(context))
        assert outcome.lines[:2] == [os.readlink(f"/proc/{pid}/ns/net"), os.readlink(f"/proc/{pid}/ns/pid")]
        assert int(outcome.lines[2]) >= 1


@pytest.mark.parametrize("path", ["/proc/self/ns/uts", "/etc/passwd", "/missing"])
def test_a_path_that_is_no_such_namespace(image: Path, context: Context, path: str) -> None:
    document = stage.config(image, "true")
    next(each for each in document["linux"]["namespaces"] if each["type"] == "network")["path"] = path
    assert stage.failure(document, context).step in ("open_namespace", "setns")


def test_the_machines_network(image: Path, context: Context) -> None:
    document = stage.config(image, "readlink", "/proc/self/ns/net")
    document["linux"]["namespaces"] = [each for each in document["linux"]["namespaces"] if each["type"] != "network"]
    assert stage.run(document, context).lines == [os.readlink("/proc/self/ns/net")]


def test_clock_offsets(image: Path, context: Context, request: pytest.FixtureRequest) -> None:
    if len(os.listdir("/proc/self/task")) > 1:
        # A process with threads (libraries of other rooms start some for good) may not change its time namespace.
        command = [sys.executable, "-m", "pytest", "-q", f"--basetemp={image.parent}/alone", request.node.nodeid]
        done = subprocess.run(command, cwd=request.config.rootpath, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout
        return
    document = stage.config(image, "cat", "/proc/uptime", "/proc/self/timens_offsets")
    document["linux"]["namespaces"].append({"type": "time"})
    document["linux"]["timeOffsets"] = {"boottime": {"secs": 86_400}, "monotonic": {"secs": 100, "nanosecs": 5}}
    up, *offsets = stage.run(document, context).lines
    assert float(up.split()[0]) > time.clock_gettime(time.CLOCK_BOOTTIME) + 80_000
    assert [each.split() for each in offsets] == [["monotonic", "100", "5"], ["boottime", "86400", "0"]]


def test_a_time_namespace_without_offsets(image: Path, context: Context) -> None:
    document = stage.config(image, "readlink", "/proc/self/ns/time")
    document["linux"]["namespaces"].append({"type": "time"})
    assert stage.run(document, context).lines != [os.readlink("/proc/self/ns/time")]


def hook(where: Path, name: str, more: str = "") -> dict[str, Any]:
    """It writes down what it was told and where it ran."""
    script = where / f"{name}.sh"
    script.write_text(
        f"#!/bin/sh\ncat > {where}/{name}.json\n"
        f"(readlink /proc/self/ns/net; readlink /proc/self/ns/mnt; env) > {where}/{name}.txt\n{more}\n"
    )
    script.chmod(0o755)
    return {"path": str(script), "args": [name, "x"], "env": ["A=b"], "timeout": 10}


def test_hooks(rootfs: Path, context: Context, tmp_path: Path) -> None:
    kinds = ("prestart", "createRuntime", "createContainer", "poststart")
    document = stage.config(rootfs, "readlink", "/proc/self/ns/net")
    document["annotations"] = {"from": "spec"}
    document["hooks"] = {kind: [hook(tmp_path, kind)] for kind in kinds}
    (rootfs / "start.sh").write_text("#!/bin/sh\ncat > /start.json\nls / > /start.txt\n")
    (rootfs / "start.sh").chmod(0o755)
    document["hooks"]["startContainer"] = [{"path": "/start.sh", "env": ["PATH=/bin"]}]
    outcome = stage.run(document, dataclasses.replace(context, bundle="/the/bundle", annotations={"more": "x"}))
    assert outcome.warnings == []
    ours, theirs = os.readlink("/proc/self/ns/net"), outcome.lines[0]
    for kind in kinds:
        told = json.loads((tmp_path / f"{kind}.json").read_text())
        assert told["id"] == context.id
        assert told["bundle"] == "/the/bundle"
        assert told["annotations"] == {"from": "spec", "more": "x"}
        assert told["status"] == ("running" if kind == "poststart" else "creating")
        assert told["pid"] > 0
        network, mount_namespace, *environment = (tmp_path / f"{kind}.txt").read_text().splitlines()
        assert network == (theirs if kind == "createContainer" else ours)
        assert (mount_namespace == os.readlink("/proc/self/ns/mnt")) == (kind != "createContainer")
        assert set(environment) - {"PWD=/", f"PWD={os.getcwd()}", "_=/usr/bin/env"} <= {"A=b", "SHLVL=0", "OLDPWD=/"}
    assert json.loads((rootfs / "start.json").read_text())["status"] == "created"
    assert "start.sh" in (rootfs / "start.txt").read_text().splitlines()


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_fails_ends_the_birth(image: Path, context: Context, tmp_path: Path, kind: str) -> None:
    document = stage.config(image, "true")
    document["hooks"] = {kind: [hook(tmp_path, kind, "echo no network >&2; exit 3")]}
    error = stage.failure(document, context)
    assert error.step == "run_hook"
    assert "exit status 3: no network" in str(error)


def test_a_hook_that_hangs(image: Path, context: Context, tmp_path: Path) -> None:
    document = stage.config(image, "true")
    document["hooks"] = {"createRuntime": [{**hook(tmp_path, "slow", "exec sleep 100"), "timeout": 1}]}
    assert "not done within 1 s" in str(stage.failure(document, context))


def test_a_failing_poststart_is_a_warning(image: Path, context: Context, tmp_path: Path) -> None:
    document = stage.config(image, "echo", "ran")
    document["hooks"] = {"poststart": [{"path": "/missing"}, hook(tmp_path, "later")]}
    outcome = stage.run(document, context)
    assert outcome.output == "ran\n"
    assert outcome.warnings == ["hook /missing: no such file or directory"]
    assert (tmp_path / "later.json").exists()


def test_all_of_a_kind_run_and_failures_are_told(tmp_path: Path) -> None:
    one = runtimespec.Hook(str(tmp_path / "missing"))
    two = runtimespec.Hook("/bin/sh", ("sh", "-c", f"cat > {tmp_path}/two"))
    assert len(hooks.run_all((one, two), {"id": "x"})) == 1
    assert json.loads((tmp_path / "two").read_text()) == {"id": "x"}
    with pytest.raises(BirthError, match="killed by SIGKILL"):
        hooks.run(runtimespec.Hook("/bin/sh", ("sh", "-c", "kill -9 $$")), {})
    assert stat.S_ISREG((tmp_path / "two").stat().st_mode)
