from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.linux import idmap, namespace


@pytest.mark.parametrize(
    ("mappings", "said"),
    [
        ([], "at least one"),
        ([(0, 0, 0)], "out of range"),
        ([(-1, 0, 1)], "out of range"),
        ([(0, 0, 2**32)], "out of range"),
        ([(2**32 - 1, 0, 1)], "out of range"),
        ([(0, 0, 10), (5, 100, 10)], "overlap inside"),
        ([(0, 0, 10), (20, 9, 1)], "overlap outside"),
        ([(n, n, 1) for n in range(341)], "340"),
    ],
)
def test_maps_the_kernel_would_refuse(mappings: list[idmap.Mapping], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        idmap.format_map(mappings)


@pytest.mark.kernel
def test_a_child_sees_its_ids_change(in_child) -> None:
    def child() -> list[object]:
        with open("/proc/self/uid_map") as file:
            uid = [line.split() for line in file]
        with open("/proc/self/setgroups") as file:
            groups = file.read().strip()
        os.setgid(3)
        os.setuid(5)
        return [uid, groups, os.getuid(), os.getgid()]

    found = in_child(
        child,
        namespace.CLONE_NEWUSER,
        lambda pid: idmap.write_maps(pid, [(0, 100000, 10), (20, 0, 1)], [(0, 200000, 5)], setgroups=False),
    )
    assert found == [[["0", "100000", "10"], ["20", "0", "1"]], "deny", 5, 3]


def test_the_kernels_answer_names_the_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"write: .*: '/proc/1073741823/uid_map'"):
        idmap.write_maps(0x3FFFFFFF, [(0, 0, 1)], [(0, 0, 1)])
    with pytest.raises(PermissionError, match="'/proc/self/uid_map'"):
        idmap.write_maps("self", [(0, 0, 1)], [(0, 0, 1)])  # type: ignore[arg-type]


@pytest.mark.kernel
@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 20)), min_size=1, max_size=4))
def test_what_passes_here_passes_in_the_kernel(mappings: list[idmap.Mapping]) -> None:
    from tests.linux.conftest import run_in_child

    try:
        text = idmap.format_map(mappings)
    except ValueError:
        text = None
    outcome = []

    def beside(pid: int) -> None:
        try:
            with open(f"/proc/{pid}/uid_map", "wb", buffering=0) as file:
                file.write(text or b"".join(b"%d %d %d\n" % line for line in mappings))
            outcome.append(True)
        except OSError:
            outcome.append(False)

    run_in_child(lambda: None, namespace.CLONE_NEWUSER, beside)
    assert outcome == [text is not None]
