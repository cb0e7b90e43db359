"""Device rules: what v1's kernel makes of the lines and what the program answers are equal to "the last rule decides".

The two emulators below do what security/device_cgroup.c and the eBPF interpreter do, and are compared with an oracle of five lines.
The last tests ask the real kernel.
"""

from __future__ import annotations

import itertools
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.cgroup import devices
from gorae.cgroup.group import Cgroup
from gorae.cgroup.layout import Layout, detect
from gorae.cgroup.limits import Write
from gorae.errors import InvalidArgument, Unsupported
from gorae.linux import bpf
from gorae.linux.bpf import Instruction
from gorae.oci.runtimespec import DeviceRule

DENY_ALL = DeviceRule(False, access="rwm")
DOCKER = (
    DENY_ALL,
    DeviceRule(True, "c", access="m"),
    DeviceRule(True, "b", access="m"),
    *(DeviceRule(True, "c", 1, minor, "rwm") for minor in (3, 8, 7, 5, 9)),
    *(DeviceRule(True, "c", 5, minor, "rwm") for minor in (0, 1, 2)),
    DeviceRule(True, "c", 136, -1, "rwm"),
    DeviceRule(False, "c", 10, 229, "rwm"),
)


def allowed(rules: tuple[DeviceRule, ...], kind: str, major: int, minor: int, access: str) -> bool:
    """The oracle: every letter by itself, the last rule that matches, and no by default."""

    def one(letter: str) -> bool:
        for rule in reversed(rules):
            same = rule.type in ("a", kind) and rule.major in (None, -1, major) and rule.minor in (None, -1, minor)
            if same and letter in (rule.access or "rwm"):
                return rule.allow
        return False

    return all(one(letter) for letter in access)


class V1Kernel:
    """security/device_cgroup.c: a default and exceptions; the parent allows everything."""

    def __init__(self) -> None:
        self.default_allow = True
        self.exceptions: dict[tuple[str, str, str], set[str]] = {}

    def write(self, write: Write) -> None:
        grants = {"devices.allow": True, "devices.deny": False}[write.file]
        if write.value == "a":
            self.default_allow, self.exceptions = grants, {}
            return
        kind, device, access = write.value.split(" ")
        major, minor = device.split(":")
        assert kind in ("b", "c")
        key = (kind, major, minor)
        if grants != self.default_allow:
            self.exceptions.setdefault(key, set()).update(access)
        elif key in self.exceptions:
            self.exceptions[key].difference_update(access)

    def allows(self, kind: str, major: int, minor: int, access: str) -> bool:
        matching = [
            letters
            for (other, first, second), letters in self.exceptions.items()
            if other == kind and first in ("*", str(major)) and second in ("*", str(minor))
        ]
        if self.default_allow:
            return not any(letters & set(access) for letters in matching)
        return any(set(access) <= letters for letters in matching)


def run(program: tuple[Instruction, ...], kind: str, major: int, minor: int, access: str) -> bool:
    """The eBPF interpreter, as far as the program goes; also what the verifier demands: no jump out, no way past the end."""
    bits = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in set(access))
    context = {0: {"b": 1, "c": 2}[kind] | bits << 16, 4: major, 8: minor}
    registers = {1: 0}
    position = 0
    while True:
        code, dst, src, off, imm = program[position]
        position += 1
        value = registers.get(dst, 0)
        if code == bpf.BPF_LDX_W_MEM:
            assert src == 1
            registers[dst] = context[off]
        elif code == bpf.BPF_MOV32_X:
            registers[dst] = registers[src]
        elif code == bpf.BPF_MOV64_K:
            registers[dst] = imm
        elif code == bpf.BPF_AND32_K:
            registers[dst] = value & imm
        elif code == bpf.BPF_RSH32_K:
            registers[dst] = value >> imm
        elif code == bpf.BPF_JNE_K:
            position += off if value != imm else 0
        elif code == bpf.BPF_JEQ_K:
            position += off if value == imm else 0
        elif code == bpf.BPF_EXIT:
            return bool(registers[0])
        else:
            raise AssertionError(f"instruction {code:#x} is not expected")


def reachable(program: tuple[Instruction, ...]) -> bool:
    """The verifier refuses instructions that nothing leads to."""
    seen: set[int] = set()
    todo = [0]
    while todo:
        position = todo.pop()
        if position in seen:
            continue
        seen.add(position)
        code, _, _, off, _ = program[position]
        if code != bpf.BPF_EXIT:
            todo.append(position + 1)
        if code in (bpf.BPF_JNE_K, bpf.BPF_JEQ_K):
            todo.append(position + 1 + off)
    return seen == set(range(len(program)))


NUMBERS = st.sampled_from([None, -1, 0, 1, 2])
ACCESS = st.sampled_from([None, *"rwm", "rw", "wm", "rwm"])
RULES = st.lists(st.builds(DeviceRule, st.booleans(), st.sampled_from("abc"), NUMBERS, NUMBERS, ACCESS), max_size=6).map(tuple)
REQUESTS = list(itertools.product("bc", (0, 1, 2, 9), (0, 1, 2, 9), ("r", "w", "rw", "m")))


@settings(max_examples=100, deadline=None)
@given(RULES)
def test_the_program_does_what_the_rules_say(rules: tuple[DeviceRule, ...]) -> None:
    program = devices.program(rules)
    assert reachable(program)
    for request in REQUESTS:
        assert run(program, *request) == allowed(rules, *request), request


@settings(max_examples=100, deadline=None)
@given(RULES)
def test_the_lines_do_what_the_rules_say_or_are_refused(rules: tuple[DeviceRule, ...]) -> None:
    try:
        lines = devices.lines(rules)
    except Unsupported:
        assert any(not rule.allow for rule in rules), "an allow-list can always be said"
        return
    kernel = V1Kernel()
    for line in lines:
        kernel.write(line)
    if rules:
        for request in REQUESTS:
            assert kernel.allows(*request) == allowed(rules, *request), request


@settings(max_examples=100, deadline=None)
@given(RULES)
def test_lenient_lines_differ_only_in_making_nodes(rules: tuple[DeviceRule, ...]) -> None:
    try:
        lines = devices.lines(rules, lenient=True)
    except Unsupported:
        return
    kernel = V1Kernel()
    for line in lines:
        kernel.write(line)
    if rules:
        for request in REQUESTS:
            if request[3] != "m" or allowed(rules, *request):
                assert kernel.allows(*request) == allowed(rules, *request), request


def test_dockers_rules() -> None:
    with pytest.raises(Unsupported):
        devices.lines(DOCKER)
    lines = devices.lines(DOCKER, lenient=True)
    assert lines[0] == Write("devices", "devices.deny", "a")
    assert [line.value for line in lines[1:5]] == ["b *:* m", "c *:* m", "c 136:* mrw", "c 1:3 mrw"]
    assert {line.file for line in lines[1:]} == {"devices.allow"}
    assert lines[1:] == devices.lines(DOCKER[:-1])[1:]


def test_a_rule_that_takes_a_part_back_is_beyond_v1() -> None:
    rules = (DENY_ALL, DeviceRule(True, "c", 1, None, "rwm"), DeviceRule(False, "c", 1, 3, "w"))
    with pytest.raises(Unsupported, match="cgroup v1 cannot express"):
        devices.lines(rules)
    assert run(devices.program(rules), "c", 1, 3, "r")
    assert not run(devices.program(rules), "c", 1, 3, "rw")


def test_no_rules_change_nothing() -> None:
    assert devices.lines(()) == ()


def test_all_but_some_is_a_deny_list() -> None:
    lines = devices.lines((DeviceRule(True), DeviceRule(False, "c", 1, 3, "w"), DeviceRule(False, "b", 8, None, None)))
    written = {f"{line.file} {line.value}" for line in lines}
    assert written == {"devices.allow a", "devices.deny c 1:3 w", "devices.deny b 8:* mrw"}


@pytest.mark.parametrize(
    "rule", [DeviceRule(True, access="x"), DeviceRule(True, "c", -2), DeviceRule(True, minor=2**32), DeviceRule(True, access="r w")]
)
def test_rules_refused(rule: DeviceRule) -> None:
    for compile_ in (devices.lines, devices.program):
        with pytest.raises(InvalidArgument, match="device rule"):
            compile_((rule,))


def test_numbers_that_no_device_has_match_nothing() -> None:
    rules = (DENY_ALL, DeviceRule(True, "c", 2**32 - 1, None, "rwm"))
    assert not run(devices.program(rules), "c", 1, 3, "r")
    assert reachable(devices.program(rules))


PROBE = """
import os, sys
def tried(path, flags):
    try:
        os.close(os.open(path, flags))
        return "y"
    except PermissionError:
        return "n"
sys.stdin.readline()
modes = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)
print("".join(tried(f"/dev/{name}", flags) for name in ("null", "zero", "full") for flags in modes))
"""


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    layout = detect()
    group = layout.place(f"/gorae-test-{os.getpid()}-devices")
    group.create()
    yield group
    group.kill()
    group.remove()


def probe(group: Cgroup) -> str:
    """What a process in the group may open: null, zero, full, each to read, write, both."""
    command = [sys.executable, "-IS", "-c", PROBE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        group.attach(process.pid)
        return process.communicate("\n")[0].strip()


NULL_AND_ZERO = (
    DENY_ALL,
    DeviceRule(True, "c", 1, 3, "rwm"),
    DeviceRule(True, "c", 1, 5, "r"),
    # The interpreter's own needs: nothing but these is opened.
    DeviceRule(True, "c", 1, 9, "r"),
)


@pytest.mark.kernel
def test_the_kernel_agrees(cgroup: Cgroup) -> None:
    assert all(stat.S_ISCHR(Path("/dev", name).stat().st_mode) for name in ("null", "zero", "full"))
    assert probe(cgroup) == "yyyyyyyyy"
    assert cgroup.restrict_devices(NULL_AND_ZERO) == ()
    assert probe(cgroup) == "yyyynnnnn"
    assert cgroup.restrict_devices((DeviceRule(True), DeviceRule(False, "c", 1, 3, "w"))) == ()
    assert probe(cgroup) == "ynnyyyyyy"
    assert cgroup.restrict_devices(()) == ()
    assert probe(cgroup) == "ynnyyyyyy"


@pytest.mark.kernel
def test_a_program_takes_over_what_v1_cannot_say(cgroup: Cgroup) -> None:
    if cgroup.layout.unified is None:
        pytest.skip("no cgroup2 mount")
    rules = (DENY_ALL, DeviceRule(True, "c", 1, None, "rwm"), DeviceRule(False, "c", 1, 3, "w"))
    assert cgroup.restrict_devices(rules) == ()
    assert probe(cgroup) == "ynnyyyyyy"


@pytest.mark.kernel
def test_the_program_on_a_unified_hierarchy(cgroup: Cgroup) -> None:
    """The same group as v2 would have it; a second program replaces the first."""
    if cgroup.layout.unified is None:
        pytest.skip("no cgroup2 mount")
    only = Cgroup(Layout("v2", (cgroup.layout.unified,), cgroup.layout.files), cgroup.path)
    everything = ((DeviceRule(True),), "yyyyyyyyy")
    for rules, answer in ((NULL_AND_ZERO, "yyyynnnnn"), (DOCKER, "yyyyyyyyy"), ((DENY_ALL,), "nnnnnnnnn"), everything):
        only.restrict_devices(rules)
        assert probe(only) == answer
    place = os.open(cgroup.layout.unified.directory + cgroup.path, os.O_RDONLY)
    try:
        assert len(bpf.query_cgroup(place)) == 1
    finally:
        os.close(place)
