"""One fast birth: its program put together, the child entered, what it says understood.

    board ─▶ Flight ─ spawn ─▶ the child walks ─┬─ "i"  it has read passwd and group, and waits: `identify`, then "g"
                                                ├─ "c"  the terminal's master
                                                ├─ "x"  execve comes next
                                                └─ "e"  failed: what and where stands in the arena; `failure`

`GiveUp`: nothing is wrong yet, but what was found (a link on the way to a mount point, say) is for the plain executor, which then
bears the child from the start. `life` sees to that.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as in plain
import os
import struct
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

from gorae.errors import BirthError, CommandNotExecutable, CommandNotFound, GoraeError
from gorae.linux import capability, libc
from gorae.linux.namespace import CLONE_CLEAR_SIGHAND, CLONE_INTO_CGROUP, CLONE_NEWPID, CLONE_PIDFD
from gorae.runtime import outside, plain, program
from gorae.runtime.fast import arena, person, places
from gorae.runtime.fast.code import CannotLowerError, Code, Lowered, Slot, Tell
from gorae.runtime.fast.slots import (
    ENTRANCES,
    GID,
    GROUP_SIZE,
    GROUPS,
    GROUPS_SIZE,
    HOME,
    LAST,
    MOUNTS,
    NAMED,
    PASSWD_SIZE,
    PROGRAM,
    UID,
)
from gorae.runtime.scene import Scene
from gorae.runtime.terms import Birth, Step

IDENTIFY, FAILED = person.IDENTIFY, b"e"
LOWER: dict[str, Callable[..., None]] = {**places.LOWER, **person.LOWER}
EXEC_DETOUR = ("join_pid_namespace", ("process",))

fault: Callable[[Flight], int] | None = None
"""For tests: the offset in the program of the op that is to fail with EIO."""


class GiveUp(Exception):
    """No error: another way to go."""


class Flight:
    def __init__(self, birth: Birth, scene: Scene, place: arena.Arena, explain: bool) -> None:
        self.birth = birth
        self.pid = 0
        self.warnings: list[str] = []
        self._scene = scene
        self._arena: arena.Arena | None = place
        self._explain = explain
        self.starts: list[int] = []
        self._steps: list[Lowered] = []
        self._slots: dict[int, int] = {}
        self._code = self._assemble()
        self._environment = tuple(scene.environment)

    def spawn(self) -> tuple[int, int]:
        """As `plain.spawn`."""
        scene, place = self._scene, self._arena
        assert place is not None
        assert scene.report is not None
        cgroup = scene.descriptors.get("cgroup", -1)
        flags = self.birth.flags | CLONE_CLEAR_SIGHAND | CLONE_PIDFD | (CLONE_INTO_CGROUP if cgroup >= 0 else 0)
        place.prepare(flags, cgroup, scene.report.fileno(), self._explain, self._code, self._slots)
        if fault is not None:
            place.words[arena.FAULT] = place.address + arena.PROGRAM + fault(self)
        with plain.away(self.birth, scene):
            self.pid, pidfd = place.spawn()
        return self.pid, pidfd

    def identify(self) -> None:
        """What `find_user` or `take_user` does, with the files that the child has read. Raises BirthError."""
        place, scene = self._arena, self._scene
        assert place is not None
        for step in self.birth.child:
            if step.call == "check_cgroup":
                outside.check_cgroup(scene, str(step.arguments[0]), self.pid)
            elif step.call in ("find_user", "take_user"):
                scene.files = {
                    path: bytes(place.memory[start : start + place.words[arena.SLOTS + size.number]])
                    for path, start, size in (("/etc/passwd", arena.PASSWD, PASSWD_SIZE), ("/etc/group", arena.GROUP, GROUP_SIZE))
                }
                try:
                    plain.DEEDS[step.call](scene, *step.arguments)
                except (OSError, GoraeError) as error:
                    raise plain.describe(step, error) from error
                finally:
                    scene.files = None
        self._put_identity(place)

    def _put_identity(self, place: arena.Arena) -> None:
        scene = self._scene
        groups = sorted(scene.groups)
        packed = struct.pack(f"={len(groups)}I", *groups)
        place.memory[arena.PASSWD : arena.PASSWD + len(packed)] = packed
        home = 0
        if len(scene.environment) > len(self._environment):
            raw = libc.text(scene.environment[-1]) + b"\0"
            place.memory[person.ENVIRONMENT_HOME : person.ENVIRONMENT_HOME + len(raw)] = raw
            home = place.address + person.ENVIRONMENT_HOME
        for slot, value in (
            (UID, scene.uid), (GID, scene.gid), (GROUPS, len(groups)), (GROUPS_SIZE, len(packed)), (HOME, home),
        ):  # fmt: skip
            place.words[arena.SLOTS + slot.number] = value

    def failure(self) -> BirthError:
        """What the child failed of. Raises GiveUp."""
        place = self._arena
        assert place is not None
        offset = place.words[arena.FAILED_AT] - place.address - arena.PROGRAM
        index = max(bisect_right(self.starts, offset) - 1, 0)
        step = self.birth.child[index]
        tells = self._steps[index].tells
        number = (offset - self.starts[index]) // 64
        word = place.words[arena.ERRNO]
        code = word if word < 1 << 63 else (1 << 64) - word
        tell = tells[number] if number < len(tells) else Tell()
        if tell.give_up and fault is None:
            raise GiveUp
        return self._told(step, tell, code)

    def _told(self, step: Step, tell: Tell, number: int) -> BirthError:
        name, words = tell.path, os.strerror(number)
        if tell.kind == "not running":
            return BirthError("the container is not running", step="setns")
        if tell.kind == "missing":
            return CommandNotFound(f'exec: "{name}": executable file not found in $PATH', step=step.call, errno=number, path=name)
        if tell.kind == "missing file":
            return CommandNotFound(f'exec: "{name}": stat {name}: {words.lower()}', step=step.call, errno=number, path=name)
        if tell.kind == "refused":
            return CommandNotExecutable(f'exec: "{name}": {words.lower()}', step=step.call, errno=number, path=name)
        if tell.kind == "exec":
            return program.not_executed(self._program(), number)
        return plain.describe(step, libc.failure(tell.call or step.call, number, tell.path or None, tell.more))

    def _program(self) -> str:
        place = self._arena
        assert place is not None
        start = place.words[arena.SLOTS + PROGRAM.number] - place.address
        return os.fsdecode(bytes(place.memory[start : start + 4096]).partition(b"\0")[0])

    def spent(self) -> list[int]:
        """With explain: nanoseconds of each step of the child, except for the one that it ended with."""
        place = self._arena
        if place is None or not self._explain:
            return []
        times = place.words[arena.TIMES : arena.TIMES + min(place.words[arena.STEP], arena.MOST_STEPS)].tolist()
        return [after - before for before, after in pairwise(times)]

    def close(self) -> None:
        """The child is dead or has become its program: its memory is its own either way."""
        if self._arena is not None:
            self._arena.release(len(self._code))
            self._arena = None

    def _assemble(self) -> bytes:
        scene = self._scene
        for name, descriptor in scene.descriptors.items():
            if name in NAMED:
                self._slots[NAMED[name].number] = descriptor
        entrances = [descriptor for name, descriptor in scene.descriptors.items() if name.startswith("entrance:")]
        if len(entrances) > MOUNTS - ENTRANCES:
            raise CannotLowerError
        self._slots.update({ENTRANCES + number: descriptor for number, descriptor in enumerate(entrances)})
        mounts: dict[object, Slot] = {}
        pieces, size = [], 0
        for step in self.birth.child:
            lowered = _lowered(step.call, step.arguments, self._extra(step, len(entrances), mounts))
            self._steps.append(lowered)
            self.starts.append(size)
            pieces.append(lowered.code)
            size += len(lowered.code)
        if size > arena.PROGRAM_SIZE or len(self._steps) > arena.MOST_STEPS:
            raise CannotLowerError
        return b"".join(pieces)

    def _extra(self, step: Step, entrances: int, mounts: dict[object, Slot]) -> tuple[object, ...]:
        """What the code of a step depends on besides its arguments."""
        scene, call = self._scene, step.call
        if call in ("mount_in_root", "make_readonly"):
            name = step.arguments[-1]
            if name in ("", "root"):
                return (None,)
            slot = mounts.setdefault(name, Slot(MOUNTS + len(mounts)))
            if slot.number > LAST:
                raise CannotLowerError
            return (slot,)
        if call == "take_environment":
            program.take_environment(scene, *step.arguments)  # type: ignore[arg-type]
        elif call == "close_descriptors":
            assert scene.report is not None
            kept = {descriptor for name, descriptor in scene.descriptors.items() if name != "cgroup"}
            return (tuple(sorted({*kept, *(each for each in scene.stdio if each >= 0), scene.report.fileno()})),)
        elif call == "reset_signals":
            return (tuple(number for number in plain.ALL_SIGNALS if _signal.getsignal(number) == _signal.SIG_IGN),)
        elif call == "enter_cgroup":
            return (entrances,)
        elif call in ("use_stdio", "use_terminal"):
            return (scene.stdio,)
        elif call == "drop_bounding":
            missing = capability.names(person.mask(step.arguments[0]) & ~scene.bounding)  # type: ignore[arg-type]
            if missing:
                self.warnings.append(f"capabilities that this machine cannot grant: {' '.join(missing)}")
            return (scene.bounding,)
        elif call == "capset":
            return (_permitted(),)
        elif call == "find_program":
            return (next((each[5:] for each in scene.environment if each.startswith("PATH=")), program.DEFAULT_PATH),)
        elif call == "execve":
            return (tuple(scene.environment),)
        return ()


@lru_cache(maxsize=1)
def _permitted() -> int:
    """This process's permitted set, which neither a bounding set nor a change of user with keepcaps makes smaller."""
    return capability.get().permitted


@lru_cache(maxsize=384)
def _lowered(call: str, arguments: tuple[object, ...], extra: tuple[object, ...]) -> Lowered:
    code = Code()
    lower = LOWER.get(call)
    if lower is None:
        raise CannotLowerError
    lower(code, *extra, *arguments)
    return code.finish()


def board(birth: Birth, scene: Scene, explain: bool) -> Flight | None:
    """The birth as a program, in an arena of its own; None when it is for the plain executor."""
    if birth.midway or not LOWER.keys() >= {step.call for step in birth.child}:
        return None
    # The child writes to memory that other births and we have, too: nobody may look into it, whatever their rights. So it is the
    # first in a pid namespace, or in that of a container that has no CAP_SYS_PTRACE (others are entered by be_born_again).
    alone = birth.flags & CLONE_NEWPID and not birth.detour
    if not alone and [(step.call, step.arguments) for step in birth.detour] != [EXEC_DETOUR]:
        return None
    if scene.bounding < 0 or any(descriptor in (0, 1, 2) for descriptor in scene.descriptors.values()):
        return None
    place = arena.take()
    if place is None:
        return None
    try:
        return Flight(birth, scene, place, explain)
    except CannotLowerError:
        place.release()
        return None
