"""What is dangerous because the runtime is written in Python (docs/security.md, the table of hazards): one test each."""

from __future__ import annotations

import ast
import ctypes
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gorae
from gorae.errors import CorruptData, InvalidArgument
from gorae.linux import libc
from gorae.linux.path import open_in_root
from gorae.oci.json import read_json
from gorae.runtime import birth
from tests.containment import inside
from tests.containment.traps import image
from tests.running import Daemon
from tests.storage.tars import member

pytestmark = [pytest.mark.kernel, pytest.mark.peer]
SOURCE = Path(gorae.__file__).parent
PRIVILEGED = ("linux", "oci", "cgroup", "runtime", "supervisor", "storage")


def modules(*rooms: str) -> list[Path]:
    return [path for room in rooms or ("",) for path in (SOURCE / room).glob("**/*.py")]


def attributes_used(path: Path) -> set[str]:
    """Dotted names as they are written: os.path.join, tarfile.open …"""
    return {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_hazard_exe_of_the_forked_child(daemon: Daemon) -> None:
    """The supervisor, and so every child of it, runs from a mount of the interpreter that nobody can write."""
    assert os.statvfs(f"/proc/{daemon.supervisor_pid()}/exe").f_flag & os.ST_RDONLY


def test_hazard_dumpable_children() -> None:
    """Non-dumpable is the first thing that a child is, at birth and at exec."""
    assert next(birth.alone()).call == "set_dumpable"


def test_hazard_import_after_pivot(daemon: Daemon) -> None:
    """An image full of modules that Python would like to import, wherever it might look."""
    trap = b"open('/pwned', 'w')\n"
    names = ("encodings/__init__", "colorsys", "socket", "json/__init__", "usercustomize", "sitecustomize", "struct", "codecs")
    places = ("", "root/", "home/", "tmp/", "work/main/src/gorae/", "opt/")
    members = [member(f"{place}{name}.py", trap) for place in places for name in names]
    daemon.docker("import", "--change", "WORKDIR /root", "-", "hostile", input=image(*members))
    try:
        for user in ("0", "user"):
            flags = ("-u", user, "-e", "PYTHONPATH=/", "-e", "PYTHONSTARTUP=/colorsys.py", "-e", "LANG=ko_KR.EUC-KR")
            done = daemon.docker("run", "--rm", *inside.USR, *flags, "hostile", "sh", "-c", "ls /pwned 2>&1; echo end")
            assert done.stdout.endswith(b"end\n")
            assert b"No such file" in done.stdout
    finally:
        daemon.docker("rmi", "-f", "hostile", check=False)


def test_hazard_environment_of_the_program(daemon: Daemon) -> None:
    """LD_* and PYTHON* reach the program only."""
    given = ("LD_PRELOAD=/nowhere.so", "PYTHONHOME=/nowhere", "PYTHONINSPECT=1", "LD_LIBRARY_PATH=/nowhere")
    flags = [word for variable in given for word in ("-e", variable)]
    found = daemon.docker("run", "--rm", *flags, "busybox", "env").stdout.decode().splitlines()
    assert set(given) <= set(found)
    environment = Path(f"/proc/{daemon.supervisor_pid()}/environ").read_text()
    assert not re.search(r"(^|\0)(LD_|PYTHON)", environment)


def test_hazard_ignored_signals(daemon: Daemon) -> None:
    status = daemon.docker("run", "--rm", "busybox", "cat", "/proc/self/status").stdout.decode()
    assert "SigIgn:\t0000000000000000" in status
    assert "SigBlk:\t0000000000000000" in status
    lines = daemon.docker("run", "--rm", "busybox", "sh", "-c", "yes | head -n 1; echo ${PIPESTATUS:-end}", timeout=10).stdout
    assert lines == b"y\nend\n"


def test_hazard_descriptors_by_hand(daemon: Daemon) -> None:
    """Every descriptor of the supervisor is close-on-exec, made by ctypes or not."""
    pid = daemon.supervisor_pid()
    container = daemon.docker("run", "-d", "busybox", "sleep", "1000").stdout.decode().strip()
    try:
        for each in os.listdir(f"/proc/{pid}/fdinfo"):
            if int(each) > 2:
                text = Path(f"/proc/{pid}/fdinfo/{each}").read_text()
                flags = int(re.search(r"flags:\s*([0-7]+)", text)[1], 8)  # type: ignore[index]
                assert flags & os.O_CLOEXEC, (each, os.readlink(f"/proc/{pid}/fd/{each}"))
    finally:
        daemon.docker("rm", "-f", container)


def test_hazard_tarfile() -> None:
    """Python's reader is only used for archives that our own engine wrote, by the client, which places files itself; the digits
    that took it 21 minutes take our reader no time.
    """
    assert {str(path.relative_to(SOURCE)) for path in modules() if "tarfile" in imported(path)} <= {"client/archive.py"}
    assert not [path for path in modules() if re.search(r"\.extractall\(|tar\.extract\(", path.read_text())]
    from gorae.storage.archive import pax

    began = time.monotonic()
    try:
        pax.parse(b"1" * (1 << 20))
    except (CorruptData, ValueError):
        pass
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "text",
    [
        *(b"[" * 100_000, b'{"a":' * 5_000, b"1" * 5_000, b"NaN", b"[Infinity]", b"1e999", b'{"a":1,"a":2}'),
        *(b'"\\ud800"', b'"\\u0000"', b'"\xff"', b"", b"{", b"[1,]"),
    ],
)  # fmt: skip
def test_hazard_json(text: bytes) -> None:
    with pytest.raises(InvalidArgument):
        read_json(text, "test")


def curl(daemon: Daemon, *words: str, data: bytes = b"") -> bytes:
    command = ["curl", "-s", "-g", "--path-as-is", "--unix-socket", str(daemon.socket), *words]
    return subprocess.run(command, input=data, capture_output=True, check=False).stdout


def test_hazard_json_through_the_api(daemon: Daemon) -> None:
    words = ("-w", "%{http_code}", "-o", "/dev/null", "-H", "Content-Type: application/json", "--data-binary", "@-")
    for text in (
        *(b"[" * 100_000, b"NaN", b"9" * 5_000),
        *(b'{"Image":"busybox","Image":"x"}', b'{"Image":"\\ud800"}', b'{"Image":"a\\u0000"}'),
    ):  # fmt: skip
        answer = curl(daemon, *words, "http://localhost/v1.41/containers/create", data=text)
        assert answer.startswith(b"4"), (text[:40], answer)


def test_hazard_paths(tmp_path: Path) -> None:
    """os.path.join and realpath know no root: in the rooms that meet a container's paths they do not occur."""
    for path in modules("runtime"):
        used = attributes_used(path)
        outside = ("reexec.py", "state.py", "session.py", "creation.py")  # they meet the machine's paths only
        assert not {"os.path.realpath", "os.path.abspath"} & used or path.name in outside, path
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/trap").symlink_to("/etc/hostname")
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(FileNotFoundError):
            os.close(open_in_root(root, "/etc/../etc/trap", os.O_RDONLY))
    finally:
        os.close(root)


def test_hazard_fork_and_threads(daemon: Daemon) -> None:
    """Who forks has one thread; the daemon, which has many, does not fork."""
    pid = daemon.supervisor_pid()
    daemon.docker("run", "--rm", "busybox", "true")
    assert len(os.listdir(f"/proc/{pid}/task")) == 1
    forking = {"os.fork", "os.forkpty", "pty.fork"}
    for path in modules("engine", "api", "daemon", "storage"):
        assert not forking & attributes_used(path), path


def test_hazard_pickle_and_multiprocessing() -> None:
    for path in modules():
        assert not {"pickle", "marshal", "shelve", "multiprocessing", "concurrent"} & imported(path) - {"concurrent"}, path


def test_hazard_tempfile() -> None:
    """Its clean-up follows links (CVE-2023-6597); where it is used, then only to make something, never to take it away."""
    for path in modules(*PRIVILEGED):
        if path.name != "build.py":  # for developers: makes the machine code that is checked in
            assert not {"tempfile.TemporaryDirectory", "shutil.rmtree"} & attributes_used(path), path


def test_hazard_ctypes() -> None:
    """Every function that is called has its prototype, and errno is the call's own."""
    assert libc.call.__doc__
    with pytest.raises(OSError, match="umount2") as caught:
        libc.call("umount2", b"/nowhere/at/all", 0, path="/nowhere/at/all")
    assert (caught.value.errno, caught.value.filename) == (2, "/nowhere/at/all")
    # ctypes would pass a str as wide characters: "/x" would be the path "/". mypy --strict refuses it, because the type says so.
    declared = next(line for line in (SOURCE / "linux/libc.py").read_text().splitlines() if line.strip().startswith("Word"))
    assert not re.search(r"\bstr\b|\bobject\b", declared), declared
    assert ctypes.c_void_p.from_param("/x") is not None


def test_hazard_tracebacks(daemon: Daemon) -> None:
    """An answer never tells more than words."""
    for path in ("/containers/%ff/json", "/v9.99/info", "/containers/json?filters=%7B", "/images/json?filters=[1]"):
        answer = curl(daemon, f"http://localhost{path}")
        assert b"Traceback" not in answer
        assert b".py" not in answer
        assert list(json.loads(answer)) == ["message"]
    for path in modules():
        assert not {"cgitb", "faulthandler"} & imported(path) or path.name == "main.py", path


def test_hazard_the_interpreter_starts_bare(daemon: Daemon) -> None:
    """-I: no PYTHON* variable, no user's packages, no current directory on the search path."""
    words = Path(f"/proc/{daemon.supervisor_pid()}/cmdline").read_text().split("\0")
    assert any(re.fullmatch(r"-[A-Za-z]*I[A-Za-z]*", word) for word in words[1:4]), words
    assert sys.version_info >= (3, 11)
