"""What a profile says about each system call number of one ABI.

    Seccomp.syscalls, in order                      number → Decision(alternatives, otherwise)
      names, action, errnoRet, args[index op value]           alternatives: (conditions, result), the first that holds wins

The reading is runc's and libseccomp's, so that one profile means the same everywhere:

- a rule whose result is the default's is passed over;
- a rule without conditions decides its call, whatever conditional rules stand before or behind it; of several, the first;
- conditions of one rule are ANDed, unless two of them look at the same argument: then each is a rule of its own (runc's
  `libcontainer/seccomp`, because old libseccomps could not AND them; profiles in the wild rely on it);
- a name that the architecture does not have is passed over: one profile serves many architectures and kernels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gorae.errors import InvalidArgument, Unsupported
from gorae.linux.seccomp import (
    SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO,
    SECCOMP_RET_KILL_PROCESS,
    SECCOMP_RET_KILL_THREAD,
    SECCOMP_RET_LOG,
    SECCOMP_RET_TRACE,
    SECCOMP_RET_TRAP,
)
from gorae.oci.runtimespec import SECCOMP_OPERATORS, Seccomp, SeccompArg, SeccompSyscall

EPERM = 1
ENOSYS = 38

RESULTS = {
    "SCMP_ACT_KILL": SECCOMP_RET_KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": SECCOMP_RET_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": SECCOMP_RET_KILL_PROCESS,
    "SCMP_ACT_TRAP": SECCOMP_RET_TRAP,
    "SCMP_ACT_ERRNO": SECCOMP_RET_ERRNO,
    "SCMP_ACT_TRACE": SECCOMP_RET_TRACE,
    "SCMP_ACT_LOG": SECCOMP_RET_LOG,
    "SCMP_ACT_ALLOW": SECCOMP_RET_ALLOW,
}
WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
# With these as the default a system call that the profile does not know works already, or is the tracer's affair.
PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")


@dataclass(frozen=True, slots=True)
class Alternative:
    """`result` (SECCOMP_RET_*, with its data) if all `conditions` hold."""

    conditions: tuple[SeccompArg, ...]
    result: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to one system call: the first alternative that holds, else `otherwise`."""

    alternatives: tuple[Alternative, ...]
    otherwise: int


def result(action: str, errno: int | None, where: str) -> int:
    """The filter's return value; raises `InvalidArgument` where the specification demands it."""
    if action == "SCMP_ACT_NOTIFY":
        raise Unsupported(f"{where}: SCMP_ACT_NOTIFY (a listener that decides in user space) is not supported")
    if action not in RESULTS:
        raise InvalidArgument(f'{where}: unknown action "{action}"')
    if action not in WITH_ERRNO:
        if errno is not None:
            raise InvalidArgument(f"{where}: {action} returns no errno, so errnoRet {errno} has no meaning")
        return RESULTS[action]
    value = EPERM if errno is None else errno
    if not 0 <= value <= 0xFFFF:
        raise InvalidArgument(f"{where}: errno {value} does not fit into 16 bits")
    return RESULTS[action] | value


def default_result(seccomp: Seccomp) -> int:
    return result(seccomp.defaultAction, seccomp.defaultErrnoRet, "seccomp default action")


def beyond_result(seccomp: Seccomp) -> int:
    """What a system call newer than the profile gets: ENOSYS, so that a C library falls back to an older call.

    As runc since 1.0.0-rc93: a profile that refuses with EPERM breaks programs with each new kernel (runc issue 2151).
    """
    if seccomp.defaultAction in PERMISSIVE:
        return default_result(seccomp)
    return SECCOMP_RET_ERRNO | ENOSYS


def decisions(seccomp: Seccomp, numbers: Mapping[str, int]) -> dict[int, Decision]:
    """The decision of each system call that the profile names; `numbers` is one ABI's table."""
    default = default_result(seccomp)
    certain: dict[int, int] = {}
    conditional: dict[int, list[Alternative]] = {}
    named: set[int] = set()
    for rule in seccomp.syscalls:
        outcome = result(rule.action, rule.errnoRet, f"seccomp rule for {', '.join(rule.names[:3])}")
        known = [numbers[name] for name in rule.names if name in numbers]
        named.update(known)
        if outcome == default:
            continue
        for number in known:
            if rule.args:
                conditional.setdefault(number, []).extend(alternatives(rule, outcome))
            else:
                certain.setdefault(number, outcome)
    return {
        number: Decision((), certain[number]) if number in certain else Decision(tuple(conditional.get(number, ())), default)
        for number in named
    }


def alternatives(rule: SeccompSyscall, outcome: int) -> Iterable[Alternative]:
    for argument in rule.args:
        if not 0 <= argument.index <= 5:
            raise InvalidArgument(f"seccomp rule for {rule.names[0]}: a system call has arguments 0 to 5, not {argument.index}")
        if argument.op not in SECCOMP_OPERATORS:
            raise InvalidArgument(f'seccomp rule for {rule.names[0]}: unknown operator "{argument.op}"')
    if len({argument.index for argument in rule.args}) < len(rule.args):
        return [Alternative((argument,), outcome) for argument in rule.args]
    return [Alternative(rule.args, outcome)]


def intervals(decided: Mapping[int, Decision], default: int, beyond: int, first: int, end: int) -> list[tuple[int, Decision]]:
    """The decisions as a step function over the numbers `first` ≤ n < `end`: (where it begins, decision), neighbours differ."""
    unnamed = Decision((), default)
    newer = Decision((), beyond)
    steps: list[tuple[int, Decision]] = []

    def step(begin: int, decision: Decision) -> None:
        if begin < end and (not steps or steps[-1][1] != decision):
            steps.append((begin, decision))

    following = first
    for number in sorted(decided):
        if number > following:
            step(following, unnamed)
        step(number, decided[number])
        following = number + 1
    step(following, newer if decided else unnamed)
    return steps
