"""The processes of a container, as `ps -ef` shows them: `GET /containers/{id}/top`.

/proc is read from outside (proc(5)); a process that ends meanwhile is left out. Nothing in the container is executed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from gorae.wire.container import TopResponse

TITLES = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]


def top(pids: Sequence[int]) -> TopResponse:
    rows = [row for pid in sorted(pids) if (row := _row(pid)) is not None]
    return TopResponse(titles=TITLES, processes=rows)


def _row(pid: int) -> list[str] | None:
    try:
        status = os.stat(f"/proc/{pid}")
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(64 << 10).rstrip(b"\0").split(b"\0")
    except OSError:
        return None
    # The name stands in parentheses and may hold any character, so fields are counted from the last one.
    name, _, rest = text.partition(b"(")[2].rpartition(b")")
    fields = rest.split()
    ticks = os.sysconf("SC_CLK_TCK")
    used = (int(fields[11]) + int(fields[12])) // ticks
    started = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + int(fields[19]) / ticks
    command = b" ".join(words) if words != [b""] else b"[" + name + b"]"
    return [
        str(status.st_uid),
        str(pid),
        fields[1].decode(),
        str(min(99, int(100 * used / max(1, time.time() - started)))),
        time.strftime("%H:%M", time.localtime(started)),
        _terminal(int(fields[4])),
        f"{used // 3600:02}:{used // 60 % 60:02}:{used % 60:02}",
        command.decode(errors="replace"),
    ]


def _terminal(number: int) -> str:
    """`pts/0`, or `?` for none: the majors from 136 on are pseudo-terminals (Documentation/admin-guide/devices.txt)."""
    major, minor = os.major(number), os.minor(number)
    return f"pts/{(major - 136) * 256 + minor}" if 136 <= major <= 143 else "?"
