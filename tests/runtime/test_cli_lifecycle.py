"""The OCI life cycle to the letter, through the command line."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gorae.runtime import state
from tests.runtime.cli_driver import Runtime, wait_for

pytestmark = pytest.mark.kernel

FOREVER = ("sleep", "1000")
NOTHING = {"destination": "/x", "type": "bind", "source": "/no/such", "options": ["bind"]}


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    driver = Runtime(tmp_path)
    yield driver
    driver.clean_up()


def test_from_bundle_to_nothing(runtime: Runtime) -> None:
    runtime.write(*FOREVER, change=lambda document: document.update(annotations={"a.b": "c"}))
    pid = runtime.create("box", "--pid-file", str(runtime.directory / "pid"))
    assert (runtime.directory / "pid").read_text() == str(pid)
    assert runtime.state("box").items() >= {
        "ociVersion": "1.2.0",
        "id": "box",
        "status": "created",
        "pid": pid,
        "bundle": str(runtime.bundle),
        "annotations": {"a.b": "c"},
    }.items()
    assert b"sleep" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    runtime.ok("start", "box")
    wait_for(lambda: Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x001000\0")
    assert runtime.status("box") == "running"
    runtime.ok("kill", "box", "KILL")
    runtime.until("box", "stopped")
    assert runtime.state("box")["pid"] == 0
    runtime.ok("delete", "box")
    assert "does not exist" in runtime.fails("state", "box")
    assert not runtime.left()


def test_what_is_refused_in_which_state(runtime: Runtime) -> None:
    runtime.write(*FOREVER)
    pid = runtime.create("box")
    assert "exists already" in runtime.fails("create", "--bundle", str(runtime.bundle), "box")
    assert "not stopped: it is created" in runtime.fails("delete", "box")
    runtime.ok("start", "box")
    assert "already running" in runtime.fails("start", "box")
    assert "not stopped: it is running" in runtime.fails("delete", "box")
    assert "not paused" in runtime.fails("resume", "box")
    runtime.ok("kill", "box", "9")
    runtime.until("box", "stopped")
    assert "has stopped" in runtime.fails("start", "box")
    for words in (("kill", "box"), ("ps", "box"), ("events", "--stats", "box"), ("update", "--pids-limit", "5", "box")):
        assert "container not running" in runtime.fails(*words)
    assert "cannot exec in a stopped container" in runtime.fails("exec", "box", "true")
    assert "cannot be paused" in runtime.fails("pause", "box")
    runtime.ok("delete", "box")
    assert state.start_time(pid) == 0


def test_deleting_by_force(runtime: Runtime) -> None:
    runtime.write(*FOREVER)
    for status in ("created", "running", "paused"):
        pid = runtime.create("box")
        if status != "created":
            runtime.ok("start", "box")
        if status == "paused":
            runtime.ok("pause", "box")
        assert runtime.status("box") == status
        runtime.ok("delete", "--force", "box")
        assert not runtime.left()
        assert state.start_time(pid) == 0
    assert "does not exist" in runtime.fails("delete", "box")
    runtime.ok("delete", "--force", "box")


def test_the_bundle_may_change_after_create(runtime: Runtime) -> None:
    runtime.write("sh", "-c", "echo first > /proof")
    runtime.create("box")
    runtime.write("sh", "-c", "echo second > /proof")
    runtime.ok("start", "box")
    runtime.until("box", "stopped")
    assert (runtime.bundle / "rootfs/proof").read_text() == "first\n"


def test_without_a_process_it_can_be_created_but_not_started(runtime: Runtime) -> None:
    runtime.write(change=lambda document: document.pop("process"))
    runtime.create("box")
    assert "no process" in runtime.fails("start", "box")
    assert runtime.status("box") == "created"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda document: document.update(ociVersion="0.1"), "ociVersion"),
        (lambda document: document.update(root=5), "config.json: root"),
        (lambda document: document["process"].update(cwd="relative"), "process.cwd"),
        (lambda document: document["process"].update(args=["nope"]), '"nope": executable file not found in $PATH'),
        (lambda document: document["process"].update(args=["/etc"]), '"/etc": is a directory'),
        (lambda document: document["linux"].update(cgroupsPath="system.slice:gorae:box"), "cgroup driver to cgroupfs"),
        (lambda document: document["linux"].update(cgroupsPath="/a/../../b"), "cgroupsPath"),
        (lambda document: document["linux"].update(seccomp={"defaultAction": "SCMP_ACT_PLEASE"}), "defaultAction"),
        (lambda document: document["mounts"].append(NOTHING), "/no/such"),
        (lambda document: document["process"].update(terminal=True), "--console-socket"),
    ],
)
def test_a_create_that_fails_leaves_nothing(runtime: Runtime, change: Any, words: str) -> None:
    runtime.write(*FOREVER, change=change)
    assert words in runtime.fails("create", "--bundle", str(runtime.bundle), "box")
    assert not (runtime.root / "box").exists()
    assert not runtime.cgroup_directories()


def test_a_cgroup_in_use_is_refused_and_its_processes_live_on(runtime: Runtime) -> None:
    runtime.write(*FOREVER)
    runtime.create("box")
    assert "is not empty" in runtime.fails("create", "--bundle", str(runtime.bundle), "other")
    assert runtime.status("box") == "created"
    assert not (runtime.root / "other").exists()


def test_other_wrong_inputs(runtime: Runtime) -> None:
    bundle = ("--bundle", str(runtime.bundle))
    assert "config.json does not exist" in runtime.fails("create", *bundle, "box")
    (runtime.bundle / "config.json").write_text('{"ociVersion": ')
    assert "not valid JSON" in runtime.fails("create", *bundle, "box")
    runtime.write(*FOREVER)
    for name in ("", "a/b", "..", "a b", "x" * 300):
        assert "invalid container id" in runtime.fails("create", *bundle, name)
    assert "--preserve-fds 2" in runtime.fails("create", *bundle, "--preserve-fds", "2", "box")
    assert "console-socket" in runtime.fails("create", *bundle, "--console-socket", "/no/such/socket", "box")
    runtime.create("box")
    assert "unknown signal" in runtime.fails("kill", "box", "SIGFOO")
    assert "name a program" in runtime.fails("exec", "box")
    assert "no duration" in runtime.fails("events", "--interval", "soon", "box")
    for words in (("bogus",), ("state",), ("state", "--colour", "box"), ("--log-format", "xml", "list")):
        assert "--help" in runtime.fails(*words)


def test_run_gives_the_programs_input_output_and_status(runtime: Runtime) -> None:
    runtime.write("sh", "-c", "read word; echo got $word; echo oops >&2; exit 7")
    done = runtime("run", "--bundle", str(runtime.bundle), "box", stdin="hi\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "got hi\n", "oops\n")
    assert not runtime.left()
    runtime.write("sh", "-c", "kill -KILL $$; exit 3")
    assert runtime("run", "--bundle", str(runtime.bundle), "box").returncode == 3  # PID 1 cannot kill itself
    runtime.write("true")
    assert runtime("run", "--keep", "--bundle", str(runtime.bundle), "box").returncode == 0
    assert runtime.status("box") == "stopped"


def test_run_passes_signals_on(runtime: Runtime) -> None:
    runtime.write("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 1; done")
    running = subprocess.Popen(runtime.words("run", "--bundle", str(runtime.bundle), "box"), stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGTERM)
    assert running.wait(20) == 5
    running.stdout.close()
    assert not runtime.left()


def test_detached_run(runtime: Runtime) -> None:
    runtime.write(*FOREVER)
    pid_file = str(runtime.directory / "pid")
    assert runtime.silently("run", "--detach", "--pid-file", pid_file, "--bundle", str(runtime.bundle), "box") == 0
    assert runtime.status("box") == "running"
    assert (runtime.directory / "pid").read_text() == str(runtime.state("box")["pid"])


AS_THREE = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"


def test_descriptors_reach_the_program_only_when_asked(runtime: Runtime) -> None:
    runtime.write("sh", "-c", "ls /proc/self/fd; cat <&3 || true")
    reader, writer = os.pipe()
    try:
        os.write(writer, b"through three\n")
        os.close(writer)
        words = runtime.words("run", "--bundle", str(runtime.bundle))

        def with_three(*options: str) -> str:
            command = [sys.executable, "-c", AS_THREE, str(reader), *words, *options, "box"]
            done = subprocess.run(command, pass_fds=[reader], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
            return done.stdout

        assert "through three" not in with_three()
        assert "through three" in with_three("--preserve-fds", "1")
    finally:
        os.close(reader)


def hook(runtime: Runtime, name: str, text: str) -> dict[str, Any]:
    path = runtime.directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return {"path": str(path), "args": [name], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}


def test_hooks_at_both_ends_see_the_state_and_may_fail(runtime: Runtime) -> None:
    kinds = ("createRuntime", "poststart", "poststop")
    text = "cat > {directory}/{kind}.json; echo complaint; exit {status}"
    hooks = {
        kind: [hook(runtime, kind, text.format(directory=runtime.directory, kind=kind, status=int(kind.startswith("post"))))]
        for kind in kinds
    }
    runtime.write(*FOREVER, change=lambda document: document.update(hooks=hooks))

    def seen(kind: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((runtime.directory / f"{kind}.json").read_text())
        return told

    pid = runtime.create("box")
    assert seen("createRuntime").items() >= {"id": "box", "status": "creating", "pid": pid, "bundle": str(runtime.bundle)}.items()
    assert not (runtime.directory / "poststart.json").exists()
    runtime.ok("start", "box")
    assert seen("poststart").items() >= {"id": "box", "status": "running", "pid": pid}.items()
    assert runtime.status("box") == "running"
    runtime.ok("kill", "box", "KILL")
    runtime.until("box", "stopped")
    assert not (runtime.directory / "poststop.json").exists()
    runtime.ok("delete", "box")
    assert seen("poststop").items() >= {"id": "box", "status": "stopped"}.items()
    warnings = [json.loads(line) for line in runtime.log.read_text().splitlines()]
    for kind in ("poststart", "poststop"):
        assert any(each["level"] == "warning" and kind in each["msg"] and "complaint" in each["msg"] for each in warnings)


def test_a_hook_that_fails_before_the_start_ends_the_birth(runtime: Runtime) -> None:
    hooks = {"createRuntime": [hook(runtime, "hook", "echo no; exit 1")]}
    runtime.write(*FOREVER, change=lambda document: document.update(hooks=hooks))
    assert "no" in runtime.fails("create", "--bundle", str(runtime.bundle), "box")
    assert not runtime.left()


class TestKilledAtAnyStep:
    """kill -9 of `create`: what is left can be deleted, and then nothing is left."""

    def deletable(self, runtime: Runtime) -> None:
        assert runtime.status("box") in ("stopped", "created")
        runtime.ok("delete", "--force", "box")
        assert not runtime.left()
        runtime.create("box")  # the name is free again

    @pytest.mark.parametrize("file", ["lock", "config.json", "state.json", "exec.fifo"])
    def test_when_a_file_appears(self, runtime: Runtime, file: str) -> None:
        runtime.write(*FOREVER)
        null = subprocess.DEVNULL
        words = runtime.words("create", "--bundle", str(runtime.bundle), "box")
        creating = subprocess.Popen(words, stdin=null, stdout=null, stderr=null)
        path = runtime.root / "box" / file
        while not path.exists() and creating.poll() is None:
            pass
        creating.kill()
        creating.wait()
        self.deletable(runtime)

    def test_in_the_middle_of_the_birth(self, runtime: Runtime) -> None:
        hooks = {"createRuntime": [hook(runtime, "hook", "kill -9 $PPID")]}
        runtime.write(*FOREVER, change=lambda document: document.update(hooks=hooks))
        assert runtime.silently("create", "--bundle", str(runtime.bundle), "box") == -9
        runtime.write(*FOREVER)
        wait_for(lambda: runtime.status("box") == "stopped")
        self.deletable(runtime)

    def test_before_anything_is_written(self, runtime: Runtime) -> None:
        (runtime.root / "box").mkdir(parents=True)
        runtime.write(*FOREVER)
        self.deletable(runtime)


def test_in_a_user_namespace() -> None:
    """Its root is nobody on this machine, and yet it must reach the fifo at which it waits."""

    def mapped(document: dict[str, Any]) -> None:
        mappings = [{"containerID": 0, "hostID": 300000, "size": 65536}]
        document["linux"]["namespaces"].append({"type": "user"})
        document["linux"].update(uidMappings=mappings, gidMappings=mappings)

    directory = Path(tempfile.mkdtemp(prefix="gorae-test-"))
    directory.chmod(0o711)
    try:
        driver = Runtime(directory)
        driver.write("cat", "/proc/self/uid_map", change=mapped)
        assert driver.ok("run", "--bundle", str(driver.bundle), "box").split() == ["0", "300000", "65536"]
        driver.write(*FOREVER, change=mapped)
        driver.create("box")
        driver.ok("start", "box")
        assert driver.ok("exec", "box", "id", "-u") == "0\n"
        driver.ok("delete", "--force", "box")
        assert not driver.left()
    finally:
        driver.clean_up()
        shutil.rmtree(directory)


def test_the_interpreter_of_a_created_container_is_out_of_reach(runtime: Runtime) -> None:
    runtime.write(*FOREVER)
    pid = runtime.create("box")
    descriptor = os.open(f"/proc/{pid}/exe", os.O_PATH)
    try:
        with pytest.raises(OSError, match=r".") as refused:
            os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY)
        assert refused.value.errno in (errno.EROFS, errno.ETXTBSY)
        assert os.fstatvfs(descriptor).f_flag & os.ST_RDONLY
    finally:
        os.close(descriptor)
