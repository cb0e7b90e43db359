"""`-v`, `--mount` and `--tmpfs`, parsed and resolved to mount points. Pure; what exists on the host is told by a callable.

-v /host:/inside[:mode,…]     bind; the directory on the host is made when it is missing
-v name:/inside               a named volume: not offered yet
-v /inside, VOLUME /inside    an anonymous volume: for now kept in the container's own layer, with a warning
--mount type=bind,…           bind; the source must exist
--mount type=tmpfs,…  --tmpfs /inside:options
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import NamedTuple

from gorae import errors
from gorae.engine.container.model import ContainerConfig, Mount, MountPoint

PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
ACCESSES = ("ro", "rw")
IGNORED_MODES = ("z", "Z", "nocopy", "copy", "consistent", "cached", "delegated")
TMPFS_DEFAULTS = ("noexec", "nosuid", "nodev")
TMPFS_FLAGS = {
    "ro": "rw",
    "rw": "ro",
    "exec": "noexec",
    "noexec": "exec",
    "suid": "nosuid",
    "nosuid": "suid",
    "dev": "nodev",
    "nodev": "dev",
    "async": "sync",
    "sync": "async",
    "dirsync": "",
    "atime": "noatime",
    "noatime": "atime",
    "diratime": "nodiratime",
    "nodiratime": "diratime",
    "relatime": "norelatime",
    "norelatime": "relatime",
    "strictatime": "nostrictatime",
    "nostrictatime": "strictatime",
    "remount": "",
    "mand": "nomand",
    "nomand": "mand",
    "bind": "",
    "rbind": "",
    "iversion": "noiversion",
    "noiversion": "iversion",
    "defaults": "",
}
TMPFS_VALUES = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol")


class Resolved(NamedTuple):
    """Mount points by destination; `made` are bind sources that `-v` makes when missing."""

    points: tuple[MountPoint, ...]
    made: tuple[str, ...]
    warnings: tuple[str, ...]


def resolve(config: ContainerConfig, volumes: tuple[str, ...], exists: Callable[[str], bool]) -> Resolved:
    """`volumes` are the wish's and the image's. InvalidArgument in Docker's words, Unsupported for what comes later."""
    points: dict[str, MountPoint] = {}
    made: list[str] = []
    warnings: list[str] = []
    for bind in config.binds:
        point = parse_bind(bind)
        _add(points, point)
        made.append(point.source)
    for mount in config.mounts:
        _add(points, from_mount(mount, exists))
    for target, options in config.tmpfs.items():
        destination = clean_target(target)
        check_tmpfs_options(options)
        _add(points, MountPoint(type="tmpfs", source="", destination=destination, mode=options))
    if config.volumes_from:
        raise errors.Unsupported("--volumes-from is not offered yet; name the directories with -v instead")
    for volume in volumes:
        destination = clean_target(volume)
        if destination not in points:
            warnings.append(
                f"volume {destination}: anonymous volumes are not offered yet; its files are kept in the container and go with it"
            )
    return Resolved(tuple(points.values()), tuple(made), tuple(warnings))


def _add(points: dict[str, MountPoint], point: MountPoint) -> None:
    if point.destination in points:
        raise errors.InvalidArgument(f"Duplicate mount point: {point.destination}")
    points[point.destination] = point


def parse_bind(text: str) -> MountPoint:
    parts = text.split(":")
    if len(parts) > 3 or not all(parts[:2]) or "" in parts:
        raise errors.InvalidArgument(f"invalid volume specification: '{ascii(text)[1:-1]}'")
    if len(parts) == 1:
        raise errors.Unsupported(
            f"anonymous volume {text!a}: volumes are not offered yet; bind a directory with -v /path:{parts[0]}"
        )
    source, target, mode = parts[0], parts[1], parts[2] if len(parts) == 3 else ""
    if not source.startswith("/"):
        raise errors.Unsupported(f"named volume {source!a}: volumes are not offered yet; bind a directory with -v /path:{target}")
    read_write, propagation = parse_mode(text, mode)
    return MountPoint(
        type="bind",
        source=posixpath.normpath(source).replace("//", "/"),
        destination=clean_target(target),
        mode=mode,
        read_write=read_write,
        propagation=propagation or "rprivate",
    )


def parse_mode(text: str, mode: str) -> tuple[bool, str]:
    """(writable, propagation)"""
    access = propagation = ""
    for word in mode.split(",") if mode else ():
        if word in ACCESSES and not access:
            access = word
        elif word in PROPAGATIONS and not propagation:
            propagation = word
        elif word not in IGNORED_MODES:
            raise errors.InvalidArgument(f'invalid mode: {ascii(mode)[1:-1]} (in "{ascii(text)[1:-1]}")')
    return access != "ro", propagation


def from_mount(mount: Mount, exists: Callable[[str], bool]) -> MountPoint:
    def invalid(why: str) -> errors.InvalidArgument:
        return errors.InvalidArgument(f'invalid mount config for type "{ascii(mount.type)[1:-1]}": {why}')

    if not mount.target:
        raise invalid("field Target must not be empty")
    destination = clean_target(mount.target)
    if mount.type == "tmpfs":
        if mount.source:
            raise invalid("field Source must not be specified")
        options = [f"size={mount.tmpfs_size}"] if mount.tmpfs_size > 0 else []
        options += [f"mode={mount.tmpfs_mode:o}"] if mount.tmpfs_mode else []
        options += ["ro"] if mount.read_only else []
        options += ["=".join(pair) for pair in mount.tmpfs_options]
        check_tmpfs_options(",".join(options))
        return MountPoint(type="tmpfs", source="", destination=destination, mode=",".join(options), read_write=not mount.read_only)
    if mount.type == "volume":
        raise errors.Unsupported(f"mount {destination}: volumes are not offered yet; use type=bind or type=tmpfs")
    if mount.type != "bind":
        raise invalid("mount type unknown")
    if not mount.source:
        raise invalid("field Source must not be empty")
    if not mount.source.startswith("/"):
        raise invalid(f"invalid mount path: '{ascii(mount.source)[1:-1]}' mount path must be absolute")
    if mount.propagation and mount.propagation not in PROPAGATIONS:
        raise invalid(f"invalid propagation mode: {ascii(mount.propagation)[1:-1]}")
    source = posixpath.normpath(mount.source).replace("//", "/")
    if not mount.create_mountpoint and not exists(source):
        raise invalid(f"bind source path does not exist: {ascii(source)[1:-1]}")
    words = (("norecursive",) if mount.non_recursive else ()) + (("ro",) if mount.read_only else ())
    if mount.read_only and mount.read_only_non_recursive:
        words = (*words, "ro-nonrecursive")
    return MountPoint(
        type="bind",
        source=source,
        destination=destination,
        mode=",".join(words),
        read_write=not mount.read_only,
        propagation=mount.propagation or "rprivate",
    )


def clean_target(path: str) -> str:
    """Absolute, without `..`, and not the root."""
    if not path.startswith("/"):
        raise errors.InvalidArgument(f"invalid mount path: '{ascii(path)[1:-1]}' mount path must be absolute")
    clean = posixpath.normpath(path).replace("//", "/")
    if clean == "/":
        raise errors.InvalidArgument("invalid specification: destination can't be '/'")
    if clean == "/proc" or clean.startswith("/proc/"):
        # runc's checkProcMount: CVE-2019-16884. The runtime checks the resolved target as well.
        raise errors.InvalidArgument(f"{ascii(clean)[1:-1]}: nothing can be mounted inside /proc")
    return clean


def check_tmpfs_options(options: str) -> None:
    for word in options.split(",") if options else ():
        name, equals, value = word.partition("=")
        if equals:
            if name not in TMPFS_VALUES or not value:
                raise errors.InvalidArgument(f"invalid tmpfs option [{word!a}]")
        elif name not in TMPFS_FLAGS and name not in PROPAGATIONS:
            raise errors.InvalidArgument(f"invalid tmpfs option [{word!a}]")


def tmpfs_options(options: str) -> tuple[str, ...]:
    """The defaults and `options`, the later word on one matter winning."""
    chosen: dict[str, str] = {}
    for word in (*TMPFS_DEFAULTS, *(options.split(",") if options else ())):
        name, equals, _ = word.partition("=")
        if not equals:
            if name in ("defaults", "remount", "bind", "rbind") or name in PROPAGATIONS:
                continue
            chosen.pop(TMPFS_FLAGS.get(name, ""), None)
        chosen[name] = word
    return tuple(chosen.values())
