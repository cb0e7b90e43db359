"""Where the API listens, and its unix sockets (`tcp` has the others).

0660, root and one group, and never more, not for an instant (CVE-2014-3499): made under umask 0177 and opened up afterwards.
A socket at which nobody answers is stale and replaced; one that is answered is not ours to take.
"""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from pathlib import Path

from gorae.daemon import tcp
from gorae.daemon.tcp import Address
from gorae.engine.config import Config
from gorae.errors import Conflict, InvalidArgument, StorageFull, Unsupported

LONGEST = 107  # sun_path has 108 bytes, one of them for NUL (unix(7))
DEFAULT_GROUP = "docker"
PATIENCE = 2.0


def places(config: Config) -> tuple[Path | Address, ...]:
    """Where to listen. What cannot or must not be is refused in words."""
    return tuple(_place(host, config) for host in config.hosts) or (config.exec_root / "docker.sock",)


def _place(host: str, config: Config) -> Path | Address:
    scheme, _, rest = host.partition("://")
    if scheme == "tcp":
        return tcp.address(host, config)
    if scheme != "unix":
        raise Unsupported(f"host {host!r}: only unix:///path and tcp://address:port are implemented in this version of gorae")
    path = Path(rest)
    if not path.is_absolute() or ".." in path.parts:
        raise InvalidArgument(f"host {host!r}: the path must be absolute and without '..'")
    if len(os.fsencode(rest)) > LONGEST:
        raise InvalidArgument(f"host {host!r}: the path of a unix socket has at most {LONGEST} bytes")
    return path


def bind(path: Path, group: str) -> socket.socket:
    """A bound socket, not yet listening; the caller's. Conflict when somebody answers there."""
    owner = _group(group)
    _clear(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            bound.bind(str(path))
        except OSError as error:
            raise StorageFull(f"cannot make the socket {path}: {os.strerror(error.errno or errno.EIO)}") from error
        finally:
            os.umask(before)
        if owner is not None:
            os.chown(path, 0, owner)
            os.chmod(path, 0o660)
    except BaseException:
        bound.close()
        raise
    return bound


def unlink(path: Path, bound: os.stat_result) -> None:
    """Remove the socket, unless somebody else has put another in its place."""
    try:
        if os.path.samestat(path.lstat(), bound):
            path.unlink()
    except FileNotFoundError:
        pass


def _clear(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise InvalidArgument(f"cannot listen on {path}: there is no directory {path.parent}") from None
        return
    if not stat.S_ISSOCK(mode):
        raise Conflict(f"cannot listen on {path}: it exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PATIENCE)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            # A full backlog (EAGAIN) and a slow answer mean that somebody is there.
            raise Conflict(f"the socket {path} is in use ({error.strerror or 'no answer in time'})") from error
    raise Conflict(f"the socket {path} is in use: another daemon answers there; stop it, or listen elsewhere with --host")


def _group(name: str) -> int | None:
    """The group's number; None when it is the default and this machine has none of that name."""
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        if name == DEFAULT_GROUP or not name:
            return None
        raise InvalidArgument(f"group {name!r} does not exist here: make it with groupadd, or leave --group out") from None
