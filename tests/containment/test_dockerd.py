"""The same facts, seen from inside under ours and under Debian's dockerd: what differs is what docs/docker-differences.md says.

A line of that page with "seen: `…`" names the facts that it is about, as patterns. Each difference must match one of them, and each
of them must be seen to differ.
"""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.engines import Dockerd

from tests import peers
from tests.containment import filters, inside
from tests.containment.inside import Docker, Seen
from tests.running import Daemon

pytestmark = [pytest.mark.kernel, pytest.mark.peer]

PAGE = Path(__file__).parents[2] / "docs/docker-differences.md"
NONE = ("--network", "none")
FLAVOURS: dict[str, tuple[str, ...] | None] = {
    "default": NONE,
    "user": (*NONE, "-u", "user"),
    "cap-drop": (*NONE, "--cap-drop", "ALL"),
    "cap-add": (*NONE, "--cap-add", "SYS_ADMIN"),
    "read-only": (*NONE, "--read-only"),
    "tty": (*NONE, "-t"),
    "tmpfs": (*NONE, "--tmpfs", "/tmp"),
    "bind": (*NONE, "-v", "/var/tmp:/var:ro"),
    "device": (*NONE, "--device", "/dev/fuse"),
    "unconfined": (*NONE, "--security-opt", "seccomp=unconfined"),
    "pid host": (*NONE, "--pid", "host"),
    "net host": ("--network", "host"),
    "ipc host": (*NONE, "--ipc", "host"),
    "uts host": (*NONE, "--uts", "host"),
    "cgroupns host": (*NONE, "--cgroupns", "host"),
    "exec": None,
}
STATUS = ("Cap", "Sig", "Seccomp", "NoNewPrivs", "Groups", "Uid", "Gid", "Umask")
IGNORED = frozenset({"pids", "pid", "parent", "first", "strangers", "abstract", "pointer"})


@pytest.fixture(scope="module")
def dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    if not peers.installed("dockerd", "docker.io") or not os.path.exists("/usr/sbin/dockerd"):
        pytest.skip("dockerd is not here and Debian's package docker.io could not be installed")
    engine = Dockerd(tmp_path_factory.mktemp("dockerd"))
    engine.start()

    def docker(*words: str, input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        given: Any = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        done = subprocess.run(["docker", *words], env=engine.environment, capture_output=True, timeout=60, check=False, **given)
        assert done.returncode == 0, done
        return done

    try:
        docker("import", "-", inside.IMAGE, input=inside.image())
        yield docker
    finally:
        engine.close()


def look(docker: Docker, flags: tuple[str, ...] | None) -> Seen:
    return inside.look_by_exec(docker, run=NONE) if flags is None else inside.look(docker, *flags)


def facts(seen: Seen) -> dict[str, str]:
    """Flat, and without what is different in every container."""
    found: dict[str, str] = {}
    own = {"[0-9a-f]{64}": "ID", re.escape(seen.hostname): "HOST", "[0-9a-f]{12}": "ID", r"\[[0-9]+\]": "[N]"}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                walk(each, f"{name} {key}")
        elif isinstance(value, list):
            found[name] = " ".join(sorted(map(str, value)))
        else:
            found[name] = str(value)

    given = {key: value for key, value in seen.facts.items() if key not in IGNORED}
    given["status"] = {key: value for key, value in seen.status.items() if key.startswith(STATUS) and key != "SigQ"}
    given["namespaces"] = {
        kind: "the machine's" if value == os.readlink(f"/proc/self/ns/{kind}") else "its own"
        for kind, value in seen.namespaces.items()
    }
    given["mounts"] = {
        mount["at"]: f"{mount['type']} {mount['options']} {mount['passing'].split(':')[0]}".strip() for mount in seen.mounts
    }
    given["network"] = {"lo": seen.network["lo"]}  # with the machine's network others come and go
    given["limits"] = {line[:26].strip(): line[26:].split() for line in seen.limits.splitlines()[1:]}
    walk(given, "")
    for pattern, word in own.items():
        found = {key: re.sub(pattern, word, value) for key, value in found.items()}
    return {key.strip(): value for key, value in found.items()}


def listed() -> set[str]:
    return {pattern for line in PAGE.read_text().splitlines() for pattern in re.findall(r"seen: `([^`]+)`", line)}


def test_the_same_facts_but_for_the_list(daemon: Daemon, dockerd: Docker) -> None:
    patterns = listed()
    used: set[str] = set()
    unlisted = []
    for name, flags in FLAVOURS.items():
        ours, theirs = facts(look(daemon.docker, flags)), facts(look(dockerd, flags))
        for fact in sorted(ours.keys() | theirs.keys()):
            if ours.get(fact) != theirs.get(fact):
                matching = {pattern for pattern in patterns if fnmatch.fnmatchcase(fact, pattern)}
                used |= matching
                if not matching:
                    unlisted.append(f"{name}: {fact}: {ours.get(fact)} | {theirs.get(fact)}")
    assert not unlisted, "\n" + "\n".join(unlisted)
    unused = {pattern for pattern in patterns - used if not pattern.startswith("syscalls ")}
    assert unused == set(), "no longer a difference"


def test_the_same_system_calls_but_for_the_list(daemon: Daemon, dockerd: Docker) -> None:
    """The loaded filters, over the whole tables, with all arguments zero."""
    found = {}
    for engine, docker in (("ours", daemon.docker), ("theirs", dockerd)):
        container = docker("run", "-d", *NONE, *inside.USR, inside.IMAGE, "sleep", "1000").stdout.decode().strip()
        try:
            pid = int(docker("inspect", "-f", "{{.State.Pid}}", container).stdout)
            program = filters.loaded(pid)[0]
            abis = ("x86_64", "i386")
            found[engine] = {(abi, name): word for abi in abis for name, word in filters.verdicts(program, abi).items()}
        finally:
            docker("rm", "-f", container)
    page = PAGE.read_text().splitlines()
    lines = {kind: next(line for line in page if f"seen: `syscalls {kind}`" in line) for kind in ("allowed", "refused")}
    for each, ours in found["ours"].items():
        theirs = found["theirs"][each]
        if (ours == "allow") != (theirs == "allow"):
            line = lines["allowed" if ours == "allow" else "refused"]
            assert re.search(rf"`{each[1]}`", line), each
