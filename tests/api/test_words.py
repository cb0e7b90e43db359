"""Times, durations and states in Docker's words."""

from __future__ import annotations

import pytest

from gorae.api.adapt.birth import birth
from gorae.api.adapt.moment import human_duration, rfc3339
from gorae.api.adapt.summary import status
from gorae.engine.container import model


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (model.State(status="running", started_at=1), "Up Less than a second"),
        (model.State(status="paused", started_at=1), "Up Less than a second (Paused)"),
        (model.State(status="exited", exit_code=3, finished_at=1), "Exited (3) Less than a second ago"),
        (model.State(status="restarting", exit_code=1, finished_at=1), "Restarting (1) Less than a second ago"),
        (model.State(status="dead"), "Dead"),
        (model.State(status="removing"), "Removal In Progress"),
    ],
)
def test_status_words(state: model.State, words: str) -> None:
    assert status(state, 2) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (180, "3 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (172799, "2 days"),
        (86400 * 13, "13 days"),
        (86400 * 14, "2 weeks"),
        (86400 * 61, "2 months"),
        (86400 * 365 * 3, "3 years"),
    ],
)
def test_human_duration(seconds: int, words: str) -> None:
    assert human_duration(seconds * 1_000_000_000) == words


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "0001-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (1_700_000_000_000_000_000, "2023-11-14T22:13:20Z"),
        (1_700_000_000_500_000_000, "2023-11-14T22:13:20.5Z"),
    ],
)
def test_rfc3339(moment: int, text: str) -> None:
    assert rfc3339(moment) == text


def test_steps_speak_the_kernels_words() -> None:
    steps = [
        ("parent", "clone3", [0x20000000 | 0x00020000 | 17]),
        ("child", "mount", ["", "/", "", 0x4000 | 0x40000, "mode=755"]),
        ("child", "umount2", [".", 2]),
        ("child", "umask", [0o22]),
        ("child", "mknod_in_root", ["/dev/null", 0o20666, 1, 8, 0, 0]),
        ("child", "close_descriptors", []),
        ("child", "make_path_readonly", ["x" * 500]),
    ]
    told = [
        step.what
        for step in birth(
            [{"side": side, "call": call, "arguments": arguments, "nanoseconds": 1} for side, call, arguments in steps]
        ).steps
    ]
    assert set(told[0].split("|")) == {"CLONE_NEWPID", "CLONE_NEWNS", "0x11"}
    assert told[1:6] == ["/ MS_REC|MS_PRIVATE mode=755", ". MNT_DETACH", "022", "/dev/null 020666 1 8 0 0", ""]
    assert told[6] == "x" * 399 + "…"
