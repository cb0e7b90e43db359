"""What is done to, and asked of, a container that runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gorae.runtime import state
from tests.runtime import stage
from tests.runtime.cli_driver import Runtime, wait_for

pytestmark = pytest.mark.kernel


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    driver = Runtime(tmp_path)
    yield driver
    driver.clean_up()


@pytest.fixture
def box(runtime: Runtime) -> Runtime:
    runtime.write("sleep", "1000")
    runtime.create("box")
    runtime.ok("start", "box")
    return runtime


class TestExec:
    def test_input_output_status(self, box: Runtime) -> None:
        done = box("exec", "box", "sh", "-c", "read word; echo got $word; echo oops >&2; exit 9", stdin="hi\n")
        assert (done.returncode, done.stdout, done.stderr) == (9, "got hi\n", "oops\n")
        assert box("exec", "box", "sh", "-c", "kill -9 $$").returncode == 137

    def test_options_change_the_containers_own_process(self, box: Runtime) -> None:
        script = "echo $(id -u):$(id -g):$(id -G) $PWD $NAME; grep -E 'CapEff|NoNewPrivs' /proc/self/status"
        options = ("--user", "1000:100", "--additional-gids", "10", "--cwd", "/tmp", "--env", "NAME=value", "--no-new-privs")
        words = box.ok("exec", *options, "box", "sh", "-c", script).split()
        assert words[:3] == ["1000:100:100", "10", "/tmp"]
        assert words[3:] == ["value", "CapEff:", "0" * 16, "NoNewPrivs:", "1"]
        assert box.ok("exec", "--user", "alice", "box", "id", "-u") == "1000\n"
        line = box.ok("exec", "--cap", "CAP_NET_ADMIN", "box", "grep", "-E", "Cap(Inh|Eff)", "/proc/self/status")
        assert line.split() == ["CapInh:", "0" * 16, "CapEff:", "00000000a80435fb"]

    def test_a_process_file_says_it_all(self, box: Runtime, tmp_path: Path) -> None:
        file = tmp_path / "process.json"
        file.write_text(json.dumps({"args": ["pwd"], "cwd": "/tmp", "env": ["PATH=/bin"]}))
        assert box.ok("exec", "--process", str(file), "box") == "/tmp\n"
        file.write_text(json.dumps({"args": "pwd", "cwd": "/"}))
        assert "process.json: args" in box.fails("exec", "--process", str(file), "box")
        assert "No such file" in box.fails("exec", "--process", str(tmp_path / "none"), "box")

    def test_detached_with_a_pid_file(self, box: Runtime, tmp_path: Path) -> None:
        file = tmp_path / "pid"
        assert box.silently("exec", "--detach", "--pid-file", str(file), "box", "sleep", "1001") == 0
        assert Path(f"/proc/{file.read_text()}/cmdline").read_bytes() == b"sleep\x001001\0"
        assert int(file.read_text()) in json.loads(box.ok("ps", "--format", "json", "box"))

    def test_it_is_in_every_namespace_and_cgroup_of_the_container(self, box: Runtime, tmp_path: Path) -> None:
        file = tmp_path / "pid"
        assert box.silently("exec", "--detach", "--pid-file", str(file), "box", "sleep", "1001") == 0
        first = box.state("box")["pid"]
        for name in ("mnt", "pid", "net", "ipc", "uts", "cgroup"):
            assert os.readlink(f"/proc/{first}/ns/{name}") == os.readlink(f"/proc/{file.read_text()}/ns/{name}")
        assert Path(f"/proc/{first}/cgroup").read_text() == Path(f"/proc/{file.read_text()}/cgroup").read_text()

    def test_failures(self, box: Runtime) -> None:
        assert 'exec: "nope": executable file not found in $PATH' in box.fails("exec", "box", "nope")
        assert "is a directory" in box.fails("exec", "box", "/etc")
        assert "console-socket" in box.fails("exec", "--tty", "--detach", "box", "sh")
        assert "does not exist" in box.fails("exec", "other", "sh")

    def test_in_a_container_that_waits_for_its_start(self, runtime: Runtime) -> None:
        runtime.write("sleep", "1000")
        runtime.create("box")
        assert runtime.ok("exec", "box", "hostname") == "box\n"


class TestPause:
    def test_there_and_back(self, box: Runtime) -> None:
        box.ok("pause", "box")
        assert box.status("box") == "paused"
        assert "cannot exec in a paused container" in box.fails("exec", "box", "true")
        assert "cannot be paused" in box.fails("pause", "box")
        box.ok("resume", "box")
        assert box.status("box") == "running"
        assert box.ok("exec", "box", "echo", "on") == "on\n"

    def test_a_paused_container_can_be_killed(self, box: Runtime) -> None:
        box.ok("pause", "box")
        box.ok("kill", "box", "KILL")
        box.until("box", "stopped")


class TestKill:
    def test_term_is_the_default_and_goes_to_the_first_process_only(self, runtime: Runtime) -> None:
        runtime.write("sh", "-c", "trap 'echo term > /told' TERM; sleep 1000 & while :; do wait; done")
        runtime.create("box")
        runtime.ok("start", "box")
        wait_for(lambda: len(json.loads(runtime.ok("ps", "-f", "json", "box"))) == 2)
        runtime.ok("kill", "box")
        wait_for((runtime.bundle / "rootfs/told").exists)
        assert len(json.loads(runtime.ok("ps", "-f", "json", "box"))) == 2

    def test_all_reaches_every_process(self, box: Runtime) -> None:
        children = [box.directory / "a", box.directory / "b"]
        for child in children:
            assert box.silently("exec", "--detach", "--pid-file", str(child), "box", "sleep", "1001") == 0
        box.ok("kill", "--all", "box", "USR1")
        wait_for(lambda: all(state.start_time(int(child.read_text())) == 0 for child in children))
        assert box.status("box") == "running"  # PID 1 of a pid namespace does not get a signal that it has no handler for
        box.ok("kill", "--all", "box", "KILL")
        box.until("box", "stopped")

    def test_all_finds_who_outlived_the_first_process(self, runtime: Runtime) -> None:
        def share_pids(document: dict[str, dict[str, list[dict[str, str]]]]) -> None:
            spaces = document["linux"]["namespaces"]
            document["linux"]["namespaces"] = [each for each in spaces if each["type"] != "pid"]

        runtime.write("sh", "-c", "sleep 1000 & exit 0", change=share_pids)
        runtime.create("box")
        runtime.ok("start", "box")
        runtime.until("box", "stopped")
        (left,) = stage.layout().place(f"{runtime.parent}/{runtime.directory.name}").procs()
        assert "container not running" in runtime.fails("kill", "box", "KILL")
        runtime.ok("kill", "--all", "box", "KILL")
        wait_for(lambda: state.start_time(left) == 0)
        runtime.ok("kill", "--all", "box", "KILL")  # containerd asks once more when nobody is left
        runtime.ok("delete", "box")
        assert not runtime.left()


class TestLimits:
    def test_update_by_options_and_by_json(self, box: Runtime) -> None:
        box.ok("update", "--memory", str(64 << 20), "--pids-limit", "77", "box")
        assert limit(box, "memory") == 64 << 20
        assert limit(box, "pids") == 77
        resources = {"memory": {"limit": 48 << 20}, "cpu": {"quota": 50000, "period": 100000}}
        box.ok("update", "--resources", "-", "box", stdin=json.dumps(resources))
        assert limit(box, "memory") == 48 << 20
        assert "resources.json: memory.limit" in refused(box, {"memory": {"limit": "much"}})

    def test_statistics(self, box: Runtime) -> None:
        box.ok("update", "--pids-limit", "77", "box")
        told = json.loads(box.ok("events", "--stats", "box"))
        assert (told["type"], told["id"]) == ("stats", "box")
        assert told["data"]["pids"] == {"current": 1, "limit": 77}
        assert told["data"]["memory"]["usage"]["usage"] > 0
        assert told["data"]["cpu"]["usage"]["total"] > 0

    def test_events_flow_until_the_end(self, box: Runtime) -> None:
        box.ok("update", "--memory", str(16 << 20), "--memory-swap", str(16 << 20), "box")
        following = subprocess.Popen(box.words("events", "--interval", "50ms", "box"), stdout=subprocess.PIPE, text=True)
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["type"] == "stats"
        assert box("exec", "box", "tail", "/dev/zero").returncode == 137
        assert any(json.loads(line)["type"] == "oom" for line in following.stdout)
        box.ok("kill", "box", "KILL")
        assert following.wait(20) == 0
        following.stdout.close()


def limit(box: Runtime, controller: str) -> int:
    stats = stage.layout().place(f"{box.parent}/{box.directory.name}").stats()
    found = stats.memory.limit if controller == "memory" else stats.pids.limit
    assert found is not None
    return found


def refused(box: Runtime, resources: object) -> str:
    done = box("update", "--resources", "-", "box", stdin=json.dumps(resources))
    assert done.returncode == 1
    return done.stderr


def test_list_and_ps(box: Runtime) -> None:
    pid = box.state("box")["pid"]
    (told,) = json.loads(box.ok("list", "--format", "json"))
    assert told.items() >= {"id": "box", "pid": pid, "status": "running", "bundle": str(box.bundle), "owner": "root"}.items()
    assert box.ok("list", "--quiet") == "box\n"
    title, row = box.ok("list").splitlines()
    assert title.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert row.split()[:3] == ["box", str(pid), "running"]
    title, row = box.ok("ps", "box").splitlines()
    assert title.split() == ["UID", "PID", "PPID", "TIME", "CMD"]
    assert row.split()[:2] == ["root", str(pid)]
    assert row.endswith("sleep 1000")
    assert "--format json" in box.fails("ps", "box", "-o", "pid")


def test_a_process_with_the_number_of_a_dead_one_is_not_taken_for_it(box: Runtime) -> None:
    """As if the container had died and its pid had been given to another process."""
    path = box.root / "box/state.json"
    record = json.loads(path.read_text())
    os.kill(record["pid"], signal.SIGKILL)
    box.until("box", "stopped")
    other = subprocess.Popen(["sleep", "1000"])
    try:
        path.write_text(json.dumps(record | {"pid": other.pid}))
        assert box.status("box") == "stopped"
        assert "container not running" in box.fails("kill", "box", "KILL")
        box.ok("delete", "--force", "box")
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_broken_state_is_told_and_does_not_hide_the_others(box: Runtime) -> None:
    (box.root / "broken").mkdir()
    (box.root / "broken/state.json").write_text('{"id": "broken"')
    assert box.ok("list", "--quiet") == "box\n"
    assert "not valid JSON" in box.fails("state", "broken")
    box.ok("delete", "--force", "broken")
    assert not (box.root / "broken").exists()
