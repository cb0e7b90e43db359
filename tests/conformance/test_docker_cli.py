"""The stock docker CLI as the judge: what its users type must do what they expect."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest
from tests import peers
from tests.running import DOCKER, Daemon, until

pytestmark = [pytest.mark.kernel, pytest.mark.peer]


def output(daemon: Daemon, *words: str, input: bytes | None = None) -> str:
    return daemon.docker(*words, input=input).stdout.decode().strip()


def run(daemon: Daemon, *words: str) -> str:
    return output(daemon, "run", "--rm", *words)


def failing(daemon: Daemon, *words: str) -> tuple[int, str]:
    done = daemon.docker(*words, check=False)
    return done.returncode, done.stderr.decode()


# run


def test_output_and_errors_go_their_own_ways(daemon: Daemon) -> None:
    done = daemon.docker("run", "--rm", "--network", "none", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


@pytest.mark.parametrize("status", [0, 1, 3, 42, 255])
def test_exit_status(daemon: Daemon, status: int) -> None:
    assert daemon.docker("run", "--rm", "busybox", "sh", "-c", f"exit {status}", check=False).returncode == status


def test_a_signal_is_128_and_its_number(daemon: Daemon) -> None:
    assert daemon.docker("run", "--rm", "busybox", "sh", "-c", "kill -9 $$; sleep 5", check=False).returncode in (137, 0)
    assert daemon.docker("run", "--rm", "busybox", "sh", "-c", "sh -c 'kill -15 $$'; exit $?", check=False).returncode == 143


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        (["nonsense"], 127, "executable file not found"),
        (["/etc/passwd"], 126, "permission denied"),
        (["/etc"], 126, ""),
        (["/no/such"], 127, "no such file"),
    ],
)
def test_commands_that_cannot_run(daemon: Daemon, command: list[str], status: int, words: str) -> None:
    code, error = failing(daemon, "run", "--rm", "busybox", *command)
    assert code == status, error
    assert words in error


def test_unknown_images_and_wrong_flags(daemon: Daemon) -> None:
    code, error = failing(daemon, "run", "--rm", "--pull", "never", "nonsense:nowhere", "true")
    assert code == 125
    assert "No such image: nonsense:nowhere" in error
    assert failing(daemon, "run", "--nonsense")[0] == 125
    assert (
        "must" in failing(daemon, "run", "--rm", "-w", "relative", "busybox", "true")[1]
        or failing(daemon, "run", "--rm", "-w", "rel", "busybox", "true")[0]
    )


def test_stdin_reaches_the_program_and_so_does_its_end(daemon: Daemon) -> None:
    assert output(daemon, "run", "-i", "--rm", "busybox", "cat", input=b"hi\n") == "hi"
    big = os.urandom(3 << 20)
    assert daemon.docker("run", "-i", "--rm", "busybox", "cat", input=big).stdout == big


def test_flags_seen_from_inside(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("bound")
    assert run(daemon, "--entrypoint", "echo", "busybox", "a", "b") == "a b"
    assert "A=b c" in run(daemon, "-e", "A=b c", "busybox", "env").splitlines()
    assert run(daemon, "-w", "/made/here", "busybox", "sh", "-c", "echo $PWD") == "/made/here"
    assert run(daemon, "-u", "user", "busybox", "sh", "-c", "id -u; id -G; echo $HOME").split() == ["1000", "1000", "2000", "/home"]
    assert run(daemon, "-u", "1234:77", "busybox", "sh", "-c", "id -u; id -g").split() == ["1234", "77"]
    assert run(daemon, "-v", f"{tmp_path}:/m:ro", "busybox", "cat", "/m/file") == "bound"
    assert failing(daemon, "run", "--rm", "-v", f"{tmp_path}:/m:ro", "busybox", "touch", "/m/x")[0] == 1
    assert (
        run(daemon, "--mount", f"type=bind,src={tmp_path},dst=/m", "busybox", "sh", "-c", "echo new > /m/new; cat /m/new") == "new"
    )
    assert (tmp_path / "new").read_text() == "new\n"
    assert "size=1024k" in run(daemon, "--tmpfs", "/t:size=1m", "busybox", "grep", " /t ", "/proc/mounts")
    assert failing(daemon, "run", "--rm", "--read-only", "busybox", "touch", "/x")[0] == 1
    assert run(daemon, "--hostname", "whale", "busybox", "hostname") == "whale"
    assert run(daemon, "--network", "none", "busybox", "sh", "-c", "ls /sys/class/net") == "lo"
    assert run(daemon, "--network", "host", "busybox", "sh", "-c", "readlink /proc/self/ns/net") == os.readlink("/proc/self/ns/net")


def test_capabilities(daemon: Daemon) -> None:
    def effective(*flags: str) -> int:
        return int(run(daemon, *flags, "busybox", "grep", "CapEff", "/proc/self/status").split()[1], 16)

    assert effective() == 0xA80425FB
    assert effective("--cap-drop", "ALL") == 0
    assert effective("--cap-drop", "ALL", "--cap-add", "NET_ADMIN") == 1 << 12
    assert effective("-u", "1000") == 0
    own = int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd")).split()[1], 16)
    assert effective("--privileged") == own


def test_limits_bite(daemon: Daemon) -> None:
    done = daemon.docker(
        "run",
        "--name",
        "hungry",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        "busybox",
        "sh",
        "-c",
        "x=$(yes | head -c 200000000)",
        check=False,
    )
    described = json.loads(output(daemon, "inspect", "hungry"))[0]
    output(daemon, "rm", "hungry")
    assert done.returncode in (137, 1, 2)
    assert described["State"]["OOMKilled"] is True
    assert (
        "fork"
        in failing(
            daemon, "run", "--rm", "--pids-limit", "5", "busybox", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait"
        )[1]
    )
    assert (
        run(
            daemon,
            "--cpus",
            "0.5",
            "busybox",
            "sh",
            "-c",
            "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max",
        )
        == "50000"
    )


def test_security_options(daemon: Daemon) -> None:
    def status(field: str, *flags: str) -> str:
        return run(daemon, *flags, "busybox", "grep", f"^{field}:", "/proc/self/status").split()[1]

    assert status("Seccomp") == "2"
    assert status("Seccomp", "--security-opt", "seccomp=unconfined") == "0"
    assert status("NoNewPrivs") == "0"
    assert status("NoNewPrivs", "--security-opt", "no-new-privileges") == "1"


def test_init_reaps_and_forwards(daemon: Daemon) -> None:
    script = (
        "for i in 1 2 3 4 5; do sh -c 'sleep 0.05 & exit'; done; sleep 0.5; grep -c '^State:.Z' /proc/[0-9]*/status | grep -c ':1'"
    )
    assert daemon.docker("run", "--rm", "--init", "busybox", "sh", "-c", script, check=False).stdout.strip() == b"0"
    output(
        daemon,
        "run",
        "-d",
        "--init",
        "--name",
        "initial",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 7' TERM; while :; do sleep 0.05; done",
    )
    output(daemon, "stop", "initial")
    assert output(daemon, "inspect", "-f", "{{.State.ExitCode}}", "initial") == "7"
    output(daemon, "rm", "initial")


def test_sharing_a_network_namespace(daemon: Daemon) -> None:
    output(daemon, "run", "-d", "--name", "first", "--network", "none", "busybox", "sleep", "100")
    namespace = output(daemon, "exec", "first", "readlink", "/proc/self/ns/net")
    assert run(daemon, "--network", "container:first", "busybox", "readlink", "/proc/self/ns/net") == namespace
    output(daemon, "rm", "-f", "first")
    assert failing(daemon, "run", "--rm", "--network", "container:first", "busybox", "true")[0] == 125


# Its life.


def test_a_life_step_by_step(daemon: Daemon) -> None:
    identity = output(
        daemon, "create", "--name", "life", "--label", "a=b", "busybox", "sh", "-c", "echo one; echo two >&2; sleep 100"
    )
    assert output(daemon, "inspect", "-f", "{{.State.Status}} {{.Id}}", "life") == f"created {identity}"
    output(daemon, "start", "life")
    assert output(daemon, "ps", "--format", "{{.Names}} {{.State}}", "-f", "label=a=b") == "life running"
    until(lambda: output(daemon, "logs", "life") == "one", "the log")
    assert failing(daemon, "rm", "life")[0] == 1
    output(daemon, "stop", "-t", "0", "life")
    assert output(daemon, "ps", "-q", "-f", "name=life") == ""
    assert output(daemon, "ps", "-a", "--format", "{{.Status}}", "-f", "name=life").startswith("Exited (137)")
    assert output(daemon, "wait", "life") == "137"
    output(daemon, "start", "life")
    output(daemon, "kill", "-s", "KILL", "life")
    output(daemon, "wait", "life")
    output(daemon, "rm", "life")
    assert (
        "No such container: life" in failing(daemon, "inspect", "life", "--type", "container")[1]
        or failing(daemon, "inspect", "life")[0] == 1
    )


def test_stop_signal_and_timeout(daemon: Daemon) -> None:
    script = "trap 'echo got; exit 3' USR1; while :; do sleep 0.05; done"
    output(daemon, "run", "-d", "--name", "polite", "--stop-signal", "USR1", "busybox", "sh", "-c", script)
    output(daemon, "stop", "polite")
    assert output(daemon, "inspect", "-f", "{{.State.ExitCode}}", "polite") == "3"
    output(daemon, "rm", "polite")
    output(
        daemon,
        "run",
        "-d",
        "--name",
        "deaf",
        "--stop-timeout",
        "1",
        "busybox",
        "sh",
        "-c",
        "trap '' TERM; while :; do sleep 0.05; done",
    )
    begun = time.monotonic()
    output(daemon, "stop", "deaf")
    assert 0.9 < time.monotonic() - begun < 5
    assert output(daemon, "inspect", "-f", "{{.State.ExitCode}}", "deaf") == "137"
    output(daemon, "rm", "deaf")


def test_names(daemon: Daemon) -> None:
    output(daemon, "create", "--name", "taken", "busybox")
    code, error = failing(daemon, "create", "--name", "taken", "busybox")
    assert code == 1
    assert 'The container name "/taken" is already in use by container' in error
    assert "Invalid container name" in failing(daemon, "create", "--name", "-x", "busybox")[1]
    output(daemon, "rm", "taken")


def test_logs(daemon: Daemon) -> None:
    output(daemon, "run", "--name", "wordy", "busybox", "sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done; echo err >&2")
    done = daemon.docker("logs", "wordy")
    assert (done.stdout, done.stderr) == (b"line 1\nline 2\nline 3\nline 4\nline 5\n", b"err\n")
    assert output(daemon, "logs", "-n", "3", "wordy").splitlines() == ["line 4", "line 5"]
    assert output(daemon, "logs", "-t", "wordy").splitlines()[0].endswith("Z line 1")
    assert output(daemon, "logs", "--since", "2000000000", "wordy") == ""
    assert output(daemon, "logs", "-f", "wordy").splitlines()[-1] == "line 5"
    output(daemon, "rm", "wordy")


def test_logs_follow_a_living_container(daemon: Daemon) -> None:
    output(daemon, "run", "-d", "--name", "talker", "busybox", "sh", "-c", "echo first; read x < /tmp/go || sleep 0.3; echo last")
    assert output(daemon, "logs", "-f", "talker").splitlines() == ["first", "last"]
    output(daemon, "rm", "-f", "talker")


# exec and attach.


def test_exec(daemon: Daemon) -> None:
    output(daemon, "run", "-d", "--name", "host1", "-e", "A=b", "busybox", "sleep", "1000")
    assert output(daemon, "exec", "host1", "sh", "-c", "echo $A $$").startswith("b ")
    assert daemon.docker("exec", "host1", "sh", "-c", "exit 9", check=False).returncode == 9
    assert output(daemon, "exec", "-i", "host1", "cat", input=b"through\n") == "through"
    assert (
        output(daemon, "exec", "-w", "/tmp", "-e", "B=c", "-u", "1000", "host1", "sh", "-c", "echo $PWD $B $(id -u)")
        == "/tmp c 1000"
    )
    assert daemon.docker("exec", "host1", "nonsense", check=False).returncode == 127
    assert daemon.docker("exec", "host1", "/etc/passwd", check=False).returncode == 126
    assert output(daemon, "exec", "host1", "readlink", "/proc/1/ns/pid") == output(
        daemon, "exec", "host1", "readlink", "/proc/self/ns/pid"
    )
    output(daemon, "exec", "-d", "host1", "touch", "/tmp/made")
    until(lambda: daemon.docker("exec", "host1", "test", "-e", "/tmp/made", check=False).returncode == 0, "the detached exec")
    assert int(output(daemon, "exec", "host1", "grep", "CapEff", "/proc/self/status").split()[1], 16) == 0xA80425FB
    output(daemon, "rm", "-f", "host1")
    assert "No such container" in failing(daemon, "exec", "host1", "true")[1]
    output(daemon, "create", "--name", "asleep", "busybox")
    assert "is not running" in failing(daemon, "exec", "asleep", "true")[1]
    output(daemon, "rm", "asleep")


class Terminal:
    """A program on a pseudo-terminal that the test types into."""

    def __init__(self, daemon: Daemon, *words: str, rows: int = 33, columns: int = 77) -> None:
        import fcntl
        import struct
        import termios

        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        command = [peers.need(DOCKER, "docker.io"), *words]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=daemon.environment | {"TERM": "xterm"}, start_new_session=True
        )
        os.close(slave)
        self.seen = b""

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def expect(self, text: bytes, seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            remaining = deadline - time.monotonic()
            ready, _, _ = select.select([self.master], [], [], max(0, remaining))
            assert ready, f"{text!r} did not come: {self.seen!r}"
            try:
                self.seen += os.read(self.master, 4096)
            except OSError:
                raise AssertionError(f"{text!r} did not come before the end: {self.seen!r}") from None
        self.seen = self.seen.split(text, 1)[1]

    def resize(self, rows: int, columns: int) -> None:
        import fcntl
        import signal
        import struct
        import termios

        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def end(self) -> int:
        status = self.process.wait(15)
        os.close(self.master)
        return status


def test_a_terminal(daemon: Daemon) -> None:
    terminal = Terminal(daemon, "run", "--rm", "-it", "busybox", "sh")
    terminal.type(b"tty; echo $TERM; stty size\n")
    terminal.expect(b"/dev/pts/0")
    terminal.expect(b"xterm")
    terminal.expect(b"33 77")
    for _ in range(100):
        terminal.resize(20, 50)  # again and again: the client listens for it only a moment after the start
        terminal.type(b"stty size\n")
        terminal.expect(b"\r\n")
        if b"20 50" in terminal.seen or _seen_soon(terminal, b"20 50"):
            break
    else:
        raise AssertionError(f"the new size did not arrive: {terminal.seen!r}")
    terminal.type(b"exit 5\n")
    assert terminal.end() == 5


def _seen_soon(terminal: Terminal, text: bytes) -> bool:
    try:
        terminal.expect(text, 0.2)
    except AssertionError:
        return False
    return True


def test_detach_keys_leave_it_running_and_attach_comes_back(daemon: Daemon) -> None:
    terminal = Terminal(daemon, "run", "-it", "--name", "shell", "busybox", "sh")
    terminal.type(b"echo on''e\n")
    terminal.expect(b"one")
    terminal.type(b"\x10\x11")
    terminal.end()
    assert output(daemon, "inspect", "-f", "{{.State.Running}}", "shell") == "true"
    terminal = Terminal(daemon, "attach", "shell")
    terminal.type(b"echo tw''o\n")
    terminal.expect(b"two")
    terminal.type(b"exit 4\n")
    assert terminal.end() == 4
    output(daemon, "rm", "shell")


def test_exec_in_a_terminal(daemon: Daemon) -> None:
    output(daemon, "run", "-d", "--name", "host2", "busybox", "sleep", "1000")
    terminal = Terminal(daemon, "exec", "-it", "host2", "sh")
    terminal.type(b"tty && stty size && exit 6\n")
    terminal.expect(b"/dev/pts/")
    terminal.expect(b"33 77")
    assert terminal.end() == 6
    output(daemon, "rm", "-f", "host2")


# Images.


def test_images(daemon: Daemon, tmp_path: Path) -> None:
    assert "busybox:latest" in output(daemon, "images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    output(daemon, "tag", "busybox", "h.example:5000/a/b:c")
    assert output(daemon, "inspect", "-f", "{{.Id}}", "h.example:5000/a/b:c") == output(
        daemon, "inspect", "-f", "{{.Id}}", "busybox"
    )
    output(daemon, "save", "-o", str(tmp_path / "image.tar"), "h.example:5000/a/b:c")
    assert output(daemon, "rmi", "h.example:5000/a/b:c").startswith("Untagged: h.example:5000/a/b:c")
    assert output(daemon, "load", "-i", str(tmp_path / "image.tar")) == "Loaded image: h.example:5000/a/b:c"
    assert run(daemon, "h.example:5000/a/b:c", "echo", "loaded") == "loaded"
    output(daemon, "rmi", "h.example:5000/a/b:c")
    assert failing(daemon, "rmi", "h.example:5000/a/b:c")[0] == 1
    assert "No such image" in failing(daemon, "rmi", "h.example:5000/a/b:c")[1]


def test_an_image_in_use_is_kept(daemon: Daemon) -> None:
    output(daemon, "create", "--name", "user", "busybox")
    code, error = failing(daemon, "rmi", "busybox")
    assert code == 1
    assert "conflict" in error
    output(daemon, "rm", "user")


def test_the_host_as_an_image(daemon: Daemon, tmp_path: Path) -> None:
    assert run(daemon, "host", "cat", "/etc/os-release") == Path("/etc/os-release").read_text().strip()
    mark = f"/var/tmp/{tmp_path.name}-mark"
    assert (
        run(daemon, "host", "sh", "-c", f"echo x > {mark}; cat {mark}; rm -rf /etc/passwd; ls /etc/passwd 2>&1 | grep -c No")
        == "x\n1"
    )
    assert not os.path.exists(mark)
    assert os.path.exists("/etc/passwd")
    assert (
        run(
            daemon, "host", "sh", "-c", f"ls -d {daemon.data_root} 2>/dev/null; ls {daemon.data_root.parent} | grep -c data || true"
        )
        == "0"
    )


# The system.


def test_version_info_and_events(daemon: Daemon) -> None:
    assert json.loads(output(daemon, "version", "--format", "{{json .Server}}"))["ApiVersion"] == "1.56"
    described = json.loads(output(daemon, "info", "--format", "{{json .}}"))
    assert described["OSType"] == "linux"
    assert described["NCPU"] == os.cpu_count()
    since = str(time.time())
    run(daemon, "busybox", "true")
    lines = output(daemon, "events", "--since", since, "--until", str(time.time()), "--format", "{{.Action}}").splitlines()
    assert [line for line in lines if line in ("create", "attach", "start", "die", "destroy")] == [
        "create",
        "attach",
        "start",
        "die",
        "destroy",
    ]


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.41", "1.47"])
def test_older_clients(daemon: Daemon, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Daemon, "environment", property(lambda self: environment | {"DOCKER_API_VERSION": version}))
    environment = {**os.environ, "DOCKER_HOST": f"unix://{daemon.socket}"}
    assert run(daemon, "busybox", "echo", version) == version
    assert "busybox" in output(daemon, "images")
    assert output(daemon, "ps", "-a") != ""


def test_versions_nobody_speaks(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**os.environ, "DOCKER_HOST": f"unix://{daemon.socket}", "DOCKER_API_VERSION": "9.99"}
    monkeypatch.setattr(Daemon, "environment", property(lambda self: environment))
    assert "client version 9.99 is too new. Maximum supported API version is 1.56" in failing(daemon, "ps")[1]


def test_what_is_not_honoured_is_said(daemon: Daemon) -> None:
    done = daemon.docker("run", "--rm", "--network", "bridge", "busybox", "true")
    assert done.stderr == b""
    done = daemon.docker("create", "--name", "warned", "--network", "none", "--storage-opt", "size=1g", "busybox")
    assert b"storage options" in done.stderr
    output(daemon, "rm", "warned")


def test_many_at_once(daemon: Daemon) -> None:
    command = [peers.need(DOCKER, "docker.io"), "run", "--rm", "--network", "none", "busybox", "sh", "-c", "echo $HOSTNAME"]
    running = [subprocess.Popen(command, env=daemon.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(20)]
    results = [process.communicate(timeout=60) for process in running]
    assert len({out for out, _ in results}) == 20, results
    assert all(process.returncode == 0 for process in running)


def test_a_name_for_the_built_in_image_comes_and_goes(daemon: Daemon) -> None:
    output(daemon, "tag", "host", "mine")
    assert run(daemon, "--network", "none", "mine", "echo", "hi") == "hi"
    assert "Untagged: mine:latest" in output(daemon, "rmi", "mine")
    code, error = failing(daemon, "rmi", "host")
    assert code == 1
    assert "built in" in error


def test_an_unknown_network_is_missed_at_the_start(daemon: Daemon) -> None:
    """As with dockerd, whose create does not look; a 404 at create would make the client pull the image."""
    identity = output(daemon, "create", "--network", "nowhere", "busybox", "true")
    code, error = failing(daemon, "start", identity)
    assert code == 1
    assert "network nowhere not found" in error
    output(daemon, "rm", identity)
