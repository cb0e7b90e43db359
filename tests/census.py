"""What is left behind: counted before and after, in one place, by every test that runs a daemon.

processes    ours (by their command line's directory) and whatever lives in our cgroups
cgroups      directories below our parent in each hierarchy
mounts       of the host, that name our directories or are overlays
links        ports of our bridge (the bridge itself stays as long as the daemon)
files        container directories, snapshots, runtime directories
rows         of the database, by table
descriptors  of the daemon and of the supervisor, by kind; namespaces that somebody holds are among them
trash        what is being deleted
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, fields
from pathlib import Path

COUNTED_TABLES = ("containers", "snapshots", "leases", "lease_holds", "content", "content_children", "images", "names")
CONNECTIONS = 4  # sockets that clients, keeping theirs alive, may have more than before


@dataclass(frozen=True)
class Census:
    cgroups: frozenset[str] = frozenset()
    mounts: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    rows: dict[str, int] = field(default_factory=dict)
    processes: frozenset[int] = frozenset()
    descriptors: dict[str, int] = field(default_factory=dict)

    def differences(self, later: Census) -> list[str]:
        """What `later` has that this one has not, in words."""
        found = []
        for column in fields(self):
            before, after = getattr(self, column.name), getattr(later, column.name)
            if isinstance(before, dict):
                found += [
                    f"{column.name} {key}: {before.get(key, 0)} → {count}"
                    for key, count in after.items()
                    if count > before.get(key, 0) + (CONNECTIONS if key.endswith("socket") else 0)
                ]
            else:
                found += [f"{column.name}: {item}" for item in sorted(after - before, key=str)]
        return found


def take(
    data_root: Path, exec_root: Path, cgroup_parent: str, pids: tuple[int, int] = (0, 0), bridge: str = ""
) -> Census:
    """`pids`: of the daemon and the supervisor; 0 for one that is not there."""
    cgroups = frozenset(cgroup_directories(cgroup_parent))
    return Census(
        cgroups=cgroups,
        mounts=frozenset(line for line in mounts() if str(data_root) in line or str(exec_root) in line or " - overlay " in line),
        links=frozenset(ports(bridge)) if bridge else frozenset(),
        files=frozenset(directories(data_root, exec_root)),
        rows=rows(data_root / "gorae.db"),
        processes=frozenset(pid for directory in cgroups for pid in members(directory)),
        descriptors={
            f"{who} {kind}": count
            for who, pid in zip(("daemon", "supervisor"), pids, strict=True)
            if pid and os.path.exists(f"/proc/{pid}")
            for kind, count in descriptors(pid).items()
            if ".db" not in kind  # SQLite opens its files when it wants to
        },
    )


def cgroup_directories(parent: str) -> list[str]:
    found = []
    for hierarchy in {line.split()[4] for line in mounts() if " - cgroup" in line}:
        top = Path(hierarchy) / parent.strip("/")
        found += [str(path) for path in top.glob("**/") if path != top] if top.is_dir() else []
    return [path.rstrip("/") for path in found]


def ports(bridge: str) -> list[str]:
    try:
        return os.listdir(f"/sys/class/net/{bridge}/brif")
    except FileNotFoundError:
        return []


def members(directory: str) -> list[int]:
    try:
        return [int(line) for line in Path(directory, "cgroup.procs").read_text().split()]
    except OSError:
        return []


def mounts() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


def directories(data_root: Path, exec_root: Path) -> list[str]:
    found = []
    for folder in (
        data_root / "containers", data_root / "snapshots", data_root / "snapshots" / "trash", data_root / "content" / "ingest",
        data_root / "content" / "blobs" / "sha256", exec_root / "containers",
    ):  # fmt: skip
        if folder.is_dir():
            found += [str(path) for path in folder.iterdir()]
    return found


def rows(database: Path) -> dict[str, int]:
    if not database.exists():
        return {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        known = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in COUNTED_TABLES if name in known}


def descriptors(pid: int) -> Counter[str]:
    """Open descriptors of a process by kind: socket, pipe, path, anon_inode:…, net (a namespace)"""
    found: Counter[str] = Counter()
    try:
        entries = os.listdir(f"/proc/{pid}/fd")
    except FileNotFoundError:
        return found
    for entry in entries:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{entry}")
        except FileNotFoundError:
            continue
        found[target if target.startswith("anon_inode") else target.split(":[")[0]] += 1
    return found


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
