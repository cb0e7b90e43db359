"""Mount options as OCI, Docker and mount(8) spell them, told apart for the kernel. Pure.

    "ro" "nosuid" …         flags of this mount           "rro" "rnosuid" …     of it and all below (mount_setattr AT_RECURSIVE)
    "rw" "suid" …           taken away again              "rprivate" "slave" …  propagation
    "bind" "rbind"          a copy of another mount       "tmpcopyup"           what the directory held is copied into the tmpfs
    "idmap" "ridmap"        refused by `validate`         anything else         the file system's own: "size=64m", "mode=755"
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from gorae.linux.mount import (
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
    MS_DIRSYNC,
    MS_I_VERSION,
    MS_LAZYTIME,
    MS_MANDLOCK,
    MS_NOATIME,
    MS_NODEV,
    MS_NODIRATIME,
    MS_NOEXEC,
    MS_NOSUID,
    MS_NOSYMFOLLOW,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_RELATIME,
    MS_SHARED,
    MS_SILENT,
    MS_SLAVE,
    MS_STRICTATIME,
    MS_SYNCHRONOUS,
    MS_UNBINDABLE,
)

SET = {
    "ro": MS_RDONLY,
    "nosuid": MS_NOSUID,
    "nodev": MS_NODEV,
    "noexec": MS_NOEXEC,
    "sync": MS_SYNCHRONOUS,
    "dirsync": MS_DIRSYNC,
    "mand": MS_MANDLOCK,
    "nosymfollow": MS_NOSYMFOLLOW,
    "noatime": MS_NOATIME,
    "nodiratime": MS_NODIRATIME,
    "relatime": MS_RELATIME,
    "strictatime": MS_STRICTATIME,
    "lazytime": MS_LAZYTIME,
    "iversion": MS_I_VERSION,
    "silent": MS_SILENT,
}
CLEAR = {
    "defaults": 0,
    "rw": MS_RDONLY,
    "suid": MS_NOSUID,
    "dev": MS_NODEV,
    "exec": MS_NOEXEC,
    "async": MS_SYNCHRONOUS,
    "nomand": MS_MANDLOCK,
    "symfollow": MS_NOSYMFOLLOW,
    "atime": MS_NOATIME,
    "diratime": MS_NODIRATIME,
    "norelatime": MS_RELATIME,
    "nostrictatime": MS_STRICTATIME,
    "nolazytime": MS_LAZYTIME,
    "noiversion": MS_I_VERSION,
    "loud": MS_SILENT,
}
PROPAGATION = {
    f"{recursive}{name}": flag | (MS_REC if recursive else 0)
    for name, flag in {"private": MS_PRIVATE, "slave": MS_SLAVE, "shared": MS_SHARED, "unbindable": MS_UNBINDABLE}.items()
    for recursive in ("", "r")
}
# The flags that belong to a mount and not to its file system, as mount_setattr(2) numbers them.
ATTRIBUTES = {
    MS_RDONLY: MOUNT_ATTR_RDONLY,
    MS_NOSUID: MOUNT_ATTR_NOSUID,
    MS_NODEV: MOUNT_ATTR_NODEV,
    MS_NOEXEC: MOUNT_ATTR_NOEXEC,
    MS_NODIRATIME: MOUNT_ATTR_NODIRATIME,
    MS_NOSYMFOLLOW: MOUNT_ATTR_NOSYMFOLLOW,
    MS_NOATIME: MOUNT_ATTR_NOATIME,
    MS_STRICTATIME: MOUNT_ATTR_STRICTATIME,
    MS_RELATIME: 0,
}
_ATIMES = MS_NOATIME | MS_STRICTATIME | MS_RELATIME


@dataclass(frozen=True, slots=True)
class Options:
    flags: int = 0  # MS_*
    cleared: int = 0  # MS_* that were asked away: what a bind must lose
    deep: int = 0  # MS_* that hold for all mounts below, too
    deep_cleared: int = 0
    propagation: tuple[int, ...] = ()  # MS_PRIVATE …, with MS_REC when recursive, in the order given
    bind: bool = False
    recursive: bool = False
    copy_up: bool = False
    idmap: bool = False
    data: str = ""  # the file system's own options


@lru_cache(maxsize=256)
def parse(options: tuple[str, ...]) -> Options:
    """Later options win over earlier ones, as in mount(8)."""
    flags = cleared = deep = deep_cleared = 0
    propagation: list[int] = []
    rest: list[str] = []
    words = set(options)
    for word in options:
        if word in SET:
            flags, cleared = flags | SET[word], cleared & ~SET[word]
        elif word in CLEAR:
            flags, cleared = flags & ~CLEAR[word], cleared | CLEAR[word]
        elif word in PROPAGATION:
            propagation.append(PROPAGATION[word])
        elif word[:1] == "r" and word[1:] in SET:
            deep, deep_cleared = deep | SET[word[1:]], deep_cleared & ~SET[word[1:]]
        elif word[:1] == "r" and word[1:] in CLEAR:
            deep, deep_cleared = deep & ~CLEAR[word[1:]], deep_cleared | CLEAR[word[1:]]
        elif word not in ("bind", "rbind", "tmpcopyup", "copyup", "idmap", "ridmap", "remount"):
            rest.append(word)
    return Options(
        flags,
        cleared,
        deep,
        deep_cleared,
        tuple(propagation),
        bind=bool(words & {"bind", "rbind"}),
        recursive="rbind" in words,
        copy_up=bool(words & {"tmpcopyup", "copyup"}),
        idmap=bool(words & {"idmap", "ridmap"}),
        data=",".join(rest),
    )


@lru_cache(maxsize=256)
def attributes(flags: int, cleared: int) -> tuple[int, int]:
    """`(attr_set, attr_clr)` of mount_setattr(2). The access times are one field there, so it is cleared whole before one is
    set.
    """
    setting = clearing = 0
    for flag, attribute in ATTRIBUTES.items():
        if flags & flag:
            setting |= attribute
        elif cleared & flag and not flag & _ATIMES:
            clearing |= attribute
    if (flags | cleared) & _ATIMES:
        clearing |= MOUNT_ATTR__ATIME
    return setting, clearing
