"""Where the ops of one step find what another left: the slots, by number.

    0            what nobody wants            16 …   the descriptors of `Scene`, by their names
    1 … 3        within one step              32 …   the files through which the child walks into its cgroups
    4 …          who and what it becomes      64 …   "mount:/path", in the order of the birth
"""

from __future__ import annotations

from gorae.runtime.fast.code import Slot

ONE, TWO, THREE = Slot(1), Slot(2), Slot(3)
PROGRAM, UID, GID, GROUPS, HOME, PASSWD_SIZE, GROUP_SIZE, REFUSED, GROUPS_SIZE = (
    Slot(number) for number in range(4, 13)
)
ROOT, NULL, PROCESS, PROCFS, HIDDEN, TERMINAL, PASSING = (Slot(number) for number in range(16, 23))
NAMED = {
    "root": ROOT,
    "null": NULL,
    "process": PROCESS,
    "procfs": PROCFS,
    "hidden": HIDDEN,
    "terminal": TERMINAL,
    "passing": PASSING,
    "pid": Slot(24),
    "network": Slot(25),
    "ipc": Slot(26),
    "uts": Slot(27),
    "time": Slot(28),
    "mount": Slot(29),
}
ENTRANCES = 32
MOUNTS = 64
LAST = 240
