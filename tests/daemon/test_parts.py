"""Options, sockets, pid file, imports: the parts of goraed, without an engine."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gorae.daemon import ground, listen, main, options, tcp
from gorae.engine.config import Config
from gorae.errors import Conflict, InvalidArgument, StorageFull, Unsupported
from gorae.version import VERSION


def test_options_are_overrides() -> None:
    given = options.parse(["--data-root", "/a", "-H", "unix:///b", "-H", "unix:///c", "-D", "--cgroup-parent", "/g"])
    assert given.overrides == {"data_root": "/a", "hosts": ["unix:///b", "unix:///c"], "debug": True, "cgroup_parent": "/g"}
    assert not given.config_chosen
    assert options.parse([]).overrides == {}
    assert options.parse(["--config-file", "/x"]).config_chosen


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--data-root"], ["--data", "/a"], ["positional"], ["--log-level", "loud"]])
def test_misuse(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        options.parse(arguments)
    assert caught.value.code == 2
    assert "usage: goraed" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["--version"])
    assert caught.value.code == 0
    assert f"goraed {VERSION}" in capsys.readouterr().out


def test_without_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main.main([]) == 1
    assert "must run as root" in capsys.readouterr().err


def hosts(*names: str, **more: Any) -> Config:
    return Config(exec_root=Path("/run/x"), hosts=names, **more)


def test_hosts() -> None:
    assert listen.places(hosts()) == (Path("/run/x/docker.sock"),)
    assert listen.places(hosts("unix:///a", "unix:///b/c")) == (Path("/a"), Path("/b/c"))
    for host, kind, words in (
        ("tcp://0.0.0.0:2375", InvalidArgument, "--insecure"),
        ("tcp://127.0.0.1:2375", InvalidArgument, "--insecure"),
        ("fd://", Unsupported, "only unix"),
        ("unix://relative", InvalidArgument, "absolute"),
        ("unix:///a/../b", InvalidArgument, "absolute"),
        ("unix:///" + "a" * 107, InvalidArgument, "107 bytes"),
    ):
        with pytest.raises(kind, match=words):
            listen.places(hosts(host))


@pytest.mark.parametrize(
    ("host", "given", "meant"),
    [
        ("tcp://0.0.0.0:1", {"insecure": True}, ("0.0.0.0", 1)),
        ("tcp://[::1]:1", {"insecure": True}, ("::1", 1)),
        ("tcp://:1", {"insecure": True}, ("127.0.0.1", 1)),
        ("tcp://", {"insecure": True}, ("127.0.0.1", 2375)),
        ("tcp://a.b", {"tls_verify": True}, ("a.b", 2376)),
        ("tcp://a.b", {"tls": True, "insecure": True}, ("a.b", 2376)),
    ],
)
def test_addresses(host: str, given: dict[str, bool], meant: tuple[str, int]) -> None:
    assert listen.places(hosts(host, **given)) == (tcp.Address(*meant),)
    warned = tcp.warning(tcp.Address(*meant), hosts(host, **given))
    assert bool(warned) is not given.get("tls_verify", False)


@pytest.mark.parametrize("host", ["tcp://a:b", "tcp://a:65536", "tcp://a/b", "tcp://a b:1", "tcp://[::1", "tcp://u@a:1", "tcp://a:1:1"])
def test_no_addresses(host: str) -> None:
    with pytest.raises(InvalidArgument, match="ADDRESS:PORT"):
        listen.places(hosts(host, insecure=True))


def test_an_address_in_use_is_not_shared() -> None:
    first = tcp.bind(tcp.Address("127.0.0.1", 0))
    first[0].listen()
    with pytest.raises(Conflict, match="cannot listen on tcp://"):
        tcp.bind(tcp.Address("127.0.0.1", first[0].getsockname()[1]))
    first[0].close()


def test_tls_costs_nothing_when_it_is_not_asked_for() -> None:
    """asyncio and aiohttp import the module `ssl` themselves; contexts, and all of ours that makes them, are not there."""
    code = """
import ssl, sys
def refuse(*_, **__): raise AssertionError("a context was made")
ssl.SSLContext.__new__ = refuse
from gorae.daemon.imports import quick
with quick():
    import gorae.daemon.life, gorae.daemon.settings
print(sorted(name for name in sys.modules if name in ("gorae.api.tls", "gorae.daemon.certificates", "gorae.api.authorization")))
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_socket_is_never_open_to_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s"
    modes: list[int] = []
    chmod = os.chmod

    def spy(target: Path, mode: int) -> None:
        modes.append(stat.S_IMODE(target.stat().st_mode))
        chmod(target, mode)

    monkeypatch.setattr(os, "chmod", spy)
    monkeypatch.setattr(os, "chown", lambda *_: None)
    before = os.umask(0)
    try:
        bound = listen.bind(path, str(os.getgid()))
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert modes == [0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    bound.close()


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = listen.bind(path, listen.DEFAULT_GROUP)
    first.close()
    second = listen.bind(path, listen.DEFAULT_GROUP)
    second.listen()
    with pytest.raises(Conflict, match="in use"):
        listen.bind(path, listen.DEFAULT_GROUP)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))  # it is still the second's
    listen.unlink(path, path.lstat())
    assert not path.exists()
    second.close()


def test_what_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(Conflict, match="not a socket"):
        listen.bind(path, listen.DEFAULT_GROUP)
    assert path.read_text() == "precious"
    with pytest.raises(InvalidArgument, match="no directory"):
        listen.bind(tmp_path / "a" / "s", listen.DEFAULT_GROUP)
    with pytest.raises(InvalidArgument, match="does not exist"):
        listen.bind(tmp_path / "t", "no-such-group")


def test_a_socket_that_is_anothers_is_left(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = listen.bind(path, listen.DEFAULT_GROUP)
    mine = path.lstat()
    path.rename(tmp_path / "kept")  # so that its inode number is not used again
    other = listen.bind(path, listen.DEFAULT_GROUP)
    listen.unlink(path, mine)
    assert path.exists()
    first.close()
    other.close()


def test_pid_file(tmp_path: Path) -> None:
    path = tmp_path / "goraed.pid"
    path.write_text("99999\n")  # left by a daemon that was killed: its lock went with it
    with ground.pid_file(path):
        assert path.read_text() == f"{os.getpid()}\n"
        with pytest.raises(Conflict, match=f"pid {os.getpid()}"), ground.pid_file(path):
            pass
        assert path.exists()
    assert not path.exists()


def test_pid_file_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(StorageFull, match="cannot write"), ground.pid_file(tmp_path / "nowhere" / "goraed.pid"):
        pass


def test_imports_leave_the_client_of_aiohttp_out_until_it_is_asked_for() -> None:
    code = """
import sys
from gorae.daemon.imports import quick
with quick():
    import gorae.daemon.life
assert "aiohttp.connector" not in sys.modules, "the client was imported"
import aiohttp
assert aiohttp.ClientSession.__module__ == "aiohttp.client"
from aiohttp import web
assert web.Response is sys.modules["aiohttp.web_response"].Response
try:
    aiohttp.nonsense
except AttributeError:
    print("good")
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("good\n", "")


def test_the_daemon_never_loads_the_runtime() -> None:
    code = "import sys, gorae.daemon.life; print(sorted(name for name in sys.modules if name.startswith('gorae.runtime')))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
