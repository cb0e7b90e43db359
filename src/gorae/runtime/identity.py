"""Who the program is: Docker's user string, looked up in the container's own /etc/passwd and /etc/group.

    ""  "name"  "uid"  "name:group"  "uid:gid"  …

    uid:gid given       the numbers, whatever the files say: digits are an id first and never a name (CVE-2016-3697)
    a name              its line in passwd, or an error in Docker's words
    no group given      gid of the passwd line (0 without one), and every group of /etc/group that lists the name
    HOME                from the passwd line of the uid, when the environment has none

The files are the image's and so hostile: regular files only, at most 1 MiB, never followed out of the root (CVE-2026-47262); an
id is strict decimal, 0 … 2³¹-1 (CVE-2024-40635). The primary group is always among the supplementary ones (CVE-2022-36109).

`parse` and `choose` are pure; `find_user` reads the files and keeps what was found in the scene.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gorae.errors import BirthError, InvalidArgument
from gorae.linux import libc
from gorae.linux.path import read_file_in_root
from gorae.linux.process import set_groups
from gorae.runtime.terms import Context, Step

if TYPE_CHECKING:
    from gorae.oci.runtimespec import Process
    from gorae.runtime.scene import Scene

LIMIT = 1 << 20
HIGHEST = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Account:
    """A line of passwd(5)."""

    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class Group:
    """A line of group(5)."""

    name: str
    gid: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Identity:
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def identifier(word: str) -> int | None:
    """The number in a user string, None when it is a name; InvalidArgument for a number that is out of range."""
    if not (word.isascii() and word.isdigit()):
        return None
    number = int(word) if len(word) <= 10 else HIGHEST + 1
    if number > HIGHEST:
        raise InvalidArgument(f"uids and gids must be in range 0-{HIGHEST}: {word[:32]} is not")
    return number


def split(user: str) -> tuple[str, str]:
    """`(user, group)` of a user string; refuses what is neither a name nor an id (`+0`, `-1`, "a b", "a:b:c")."""
    name, _, group = user.partition(":")
    for word in (name, group):
        if any(letter in ":/" or letter <= " " or letter == "\x7f" for letter in word) or word[:1] in ("+", "-"):
            raise InvalidArgument(f"invalid user {user!a}: use a name or an id from 0 to {HIGHEST}, optionally with :group")
        identifier(word)
    return name, group


def accounts(data: bytes) -> list[Account]:
    found = []
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        fields = line.strip().split(":")
        if len(fields) >= 4 and not line.startswith("#"):
            uid, gid = _number(fields[2]), _number(fields[3])
            if uid is not None and gid is not None:
                found.append(Account(fields[0], uid, gid, fields[5] if len(fields) > 5 else ""))
    return found


def home_of(data: bytes, uid: int) -> str:
    """The home directory of the first line with that uid, "/" without one. Only lines that look like it are taken apart."""
    mark = f":{uid}:"
    text = "\n".join(line for line in data.decode("utf-8", "surrogateescape").split("\n") if mark in line)
    home = next((each.home for each in accounts(text.encode("utf-8", "surrogateescape")) if each.uid == uid), "")
    return home if home.startswith("/") else "/"


def groups(data: bytes) -> list[Group]:
    found = []
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        fields = line.strip().split(":")
        if len(fields) >= 3 and not line.startswith("#"):
            gid = _number(fields[2])
            if gid is not None:
                members = tuple(filter(None, fields[3].split(","))) if len(fields) > 3 else ()
                found.append(Group(fields[0], gid, members))
    return found


def _number(word: str) -> int | None:
    """Of a line in a file: what is no id makes the line as good as absent."""
    try:
        return identifier(word)
    except InvalidArgument:
        return None


def choose(user: str, more: tuple[str, ...], passwd: list[Account], group: list[Group]) -> Identity:
    """Docker's rules, see above. `more` are the groups to add. Raises BirthError in Docker's words for a name that is not there."""
    name, wanted = split(user)
    uid = identifier(name) if name else 0
    if uid is None:
        account = next((each for each in passwd if each.name == name), None)
        if account is None:
            raise BirthError(
                f"unable to find user {name}: no matching entries in passwd file", step="find_user", path="/etc/passwd"
            )
        uid = account.uid
    else:
        account = next((each for each in passwd if each.uid == uid), None)
    extra: list[int] = []
    if wanted:
        gid = _group(wanted, group)
    else:
        gid = account.gid if account else 0
        if account:
            extra = [each.gid for each in group if account.name in each.members]
    extra += [_group(each, group) for each in more]
    home = account.home if account else ""
    return Identity(uid, gid, tuple(dict.fromkeys((gid, *extra))), home if home.startswith("/") else "/")


def _group(word: str, known: list[Group]) -> int:
    number = identifier(word)
    if number is not None:
        return number
    for each in known:
        if each.name == word:
            return each.gid
    raise BirthError(f"unable to find group {word}: no matching entries in group file", step="find_user", path="/etc/group")


def plan(process: Process, context: Context) -> Iterator[Step]:
    if context.user is not None or context.groups:
        user = context.user if context.user is not None else f"{process.user.uid}:{process.user.gid}"
        yield Step(
            "find_user",
            (user, context.groups, process.user.additionalGids),
            "names are looked up in the container's own /etc/passwd and /etc/group",
        )
    else:
        user_ids = process.user
        yield Step(
            "take_user",
            (user_ids.uid, user_ids.gid, user_ids.additionalGids),
            "the ids that the specification gives; HOME from its /etc/passwd",
        )


# What follows runs in the child.


def find_user(scene: Scene, user: str, more: tuple[str, ...], ids: tuple[int, ...]) -> None:
    name, group = split(user)
    numbers = name.isdigit() and group.isdigit() and all(each.isdigit() for each in more)
    passwd = accounts(_read(scene, "/etc/passwd"))
    known = [] if numbers else groups(_read(scene, "/etc/group"))
    found = choose(user, more, passwd, known)
    _settle(scene, found.uid, found.gid, (*found.groups, *ids), found.home)


def take_user(scene: Scene, uid: int, gid: int, more: tuple[int, ...]) -> None:
    home = "/"
    if not _has_home(scene):
        home = home_of(_read(scene, "/etc/passwd"), uid)
    _settle(scene, uid, gid, (gid, *more), home)


def _settle(scene: Scene, uid: int, gid: int, groups: tuple[int, ...], home: str) -> None:
    scene.uid, scene.gid, scene.groups = uid, gid, tuple(dict.fromkeys(groups))
    if not _has_home(scene) and home.isprintable():
        scene.environment.append(f"HOME={home}")


def _has_home(scene: Scene) -> bool:
    return any(each.startswith("HOME=") for each in scene.environment)


def _read(scene: Scene, path: str) -> bytes:
    """A missing file is an empty one; a FIFO, a device or a file beyond all measure is an error."""
    if scene.files is not None:
        if len(scene.files[path]) > LIMIT:
            raise libc.failure("read", errno.EFBIG, path, f"more than {LIMIT} bytes")
        return scene.files[path]
    try:
        return read_file_in_root(scene.descriptors["root"], path, LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return b""


def set_ids(scene: Scene) -> None:
    """Groups before the user, which gives up the right to change them."""
    try:
        set_groups(scene.groups)
        os.setresgid(scene.gid, scene.gid, scene.gid)
        os.setresuid(scene.uid, scene.uid, scene.uid)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise libc.failure(
                "setresuid", errno.EINVAL, f"{scene.uid}:{scene.gid}", "the id is not mapped in the user namespace"
            ) from None
        raise


def own_stdio(scene: Scene) -> None:
    """The pipes of standard input, output and error, and a terminal, become the user's, so that /dev/stdout can be opened again."""
    for descriptor in (0, 1, 2):
        try:
            status = os.fstat(descriptor)
            if status.st_rdev != os.makedev(1, 3) and status.st_uid != scene.uid:
                os.fchown(descriptor, scene.uid, status.st_gid)
        except OSError as error:
            # A descriptor of a read-only file system, of another user namespace, or none: runc passes these over as well.
            if error.errno not in (errno.EROFS, errno.EPERM, errno.EINVAL, errno.EBADF):
                raise


def become_root(scene: Scene) -> None:
    """In a new user namespace a process is nobody until it takes an id that is mapped."""
    scene.bounding = -1
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    try:
        set_groups(())
    except OSError as error:
        # "deny" in /proc/PID/setgroups: maps that were written without the rights for more.
        if error.errno != errno.EPERM:
            raise


DEEDS: dict[str, Callable[..., object]] = {
    "find_user": find_user,
    "take_user": take_user,
    "set_ids": set_ids,
    "own_stdio": own_stdio,
    "become_root": become_root,
}
