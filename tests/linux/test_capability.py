from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.linux import capability

CHOWN, KILL = 1 << capability.NAMES["CAP_CHOWN"], 1 << capability.NAMES["CAP_KILL"]
SETPCAP = 1 << capability.NAMES["CAP_SETPCAP"]


def status() -> dict[str, int]:
    with open("/proc/thread-self/status") as file:
        return {line[3:6]: int(line.split()[1], 16) for line in file if line.startswith("Cap")}


def test_what_the_kernel_says() -> None:
    with open("/proc/sys/kernel/cap_last_cap") as file:
        assert capability.last() == int(file.read())
    found = status()
    sets = capability.get()
    assert (sets.effective, sets.permitted, sets.inheritable) == (found["Eff"], found["Prm"], found["Inh"])
    assert capability.bounding() == found["Bnd"]
    assert capability.ambient() == found["Amb"]
    assert capability.get(os.getppid()).inheritable >= 0
    with pytest.raises(ProcessLookupError, match="capget"):
        capability.get(0x3FFFFFFF)


@pytest.mark.kernel
def test_all_five_sets(in_child) -> None:
    def child() -> dict[str, int]:
        capability.drop_bounding(capability.bounding() & ~(CHOWN | KILL))
        capability.set(CHOWN, CHOWN | KILL, CHOWN)
        capability.raise_ambient(CHOWN)
        return status()

    assert in_child(child) == {"Inh": CHOWN, "Prm": CHOWN | KILL, "Eff": CHOWN, "Bnd": CHOWN | KILL, "Amb": CHOWN}


@pytest.mark.kernel
def test_ambient_is_cleared_and_needs_inheritable(in_child) -> None:
    def child() -> list[object]:
        capability.set(CHOWN, CHOWN | KILL, CHOWN)
        capability.raise_ambient(CHOWN)
        try:
            capability.raise_ambient(KILL)
        except PermissionError as error:
            refused = error.strerror
        capability.clear_ambient()
        return [refused, capability.ambient()]

    assert in_child(child) == ["prctl: Operation not permitted", 0]


@pytest.mark.kernel
def test_nothing_comes_back(in_child) -> None:
    def child() -> str:
        capability.set(0, 0, 0)
        try:
            capability.set(CHOWN, CHOWN, 0)
        except PermissionError as error:
            return str(error.strerror)
        return ""

    assert in_child(child) == "capset: Operation not permitted"


@pytest.mark.kernel
def test_dropping_what_is_already_out_needs_nothing(in_child) -> None:
    def child() -> bool:
        capability.drop_bounding(KILL)
        sets = capability.get()
        capability.set(sets.effective & ~SETPCAP, sets.permitted & ~SETPCAP, 0)
        capability.drop_bounding(KILL)
        return bool(capability.bounding() & KILL)

    assert in_child(child) is False


@given(st.sets(st.sampled_from(sorted(capability.NAMES))))
def test_names_and_masks(names: set[str]) -> None:
    assert set(capability.names(capability.mask(names))) == names


def test_unknown_bits_and_names() -> None:
    assert capability.names(1 << 60) == ("CAP_60",)
    with pytest.raises(KeyError):
        capability.mask(["CAP_NOPE"])
    assert len(set(capability.NAMES.values())) == 41 == max(capability.NAMES.values()) + 1
