"""Copies of a log: Docker's json-file, syslog, journald."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.logs.copies import CopyingWriter, journal_entry, parse_address, rfc3339
from gorae.logs.copy import Copy
from gorae.logs.reader import Reader

NOW = 1_500_000_000_123_400_000


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def read(path: Path) -> bytes:
    with Reader(str(path)) as reader:
        return b"".join(block.data for block in iter(lambda: reader.read_available(), []) for block in block)


def test_dockers_file(tmp_path: Path) -> None:
    target = tmp_path / "x-json.log"
    writer = CopyingWriter(str(tmp_path / "records"), 1 << 20, 2, Copy("json-file", str(target), fields={"a": "b"}))
    writer.write(1, b"one\ntw", NOW)
    writer.write(2, b'"quoted" \xff\n', NOW)
    writer.write(1, b"o\n", NOW + 1)
    writer.write(1, b"no end", NOW)
    writer.close()
    attrs = {"a": "b"}
    assert lines_of(target) == [
        {"log": "one\n", "stream": "stdout", "attrs": attrs, "time": "2017-07-14T02:40:00.1234Z"},
        {"log": '"quoted" \ufffd\n', "stream": "stderr", "attrs": attrs, "time": "2017-07-14T02:40:00.1234Z"},
        {"log": "two\n", "stream": "stdout", "attrs": attrs, "time": "2017-07-14T02:40:00.123400001Z"},
        {"log": "no end", "stream": "stdout", "attrs": attrs, "time": "2017-07-14T02:40:00.1234Z"},
    ]
    assert read(tmp_path / "records").count(b"\n") == 3


def test_long_lines_come_in_pieces_as_dockers(tmp_path: Path) -> None:
    writer = CopyingWriter(str(tmp_path / "records"), 1 << 20, 2, Copy("json-file", str(tmp_path / "j")))
    writer.write(1, b"x" * 40_000 + b"\n", NOW)
    for _ in range(3):
        writer.write(1, b"y" * 20_000, NOW)
    writer.close()
    told = lines_of(tmp_path / "j")
    assert "".join(str(line["log"]) for line in told) == "x" * 40_000 + "\n" + "y" * 60_000
    assert max(len(str(line["log"])) for line in told[1:]) <= 16 << 10


def test_rotation(tmp_path: Path) -> None:
    target = tmp_path / "j"
    writer = CopyingWriter(str(tmp_path / "records"), 1 << 20, 2, Copy("json-file", str(target), max_size=1000, max_file=3))
    for number in range(100):
        writer.write(1, b"%d\n" % number, NOW)
    writer.close()
    files = sorted(path.name for path in tmp_path.glob("j*"))
    assert files == ["j", "j.1", "j.2"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.glob("j*"))
    kept = [int(str(line["log"])) for name in ("j.2", "j.1", "j") for line in lines_of(tmp_path / name)]
    assert kept == list(range(kept[0], 100))


def test_one_file_begins_anew(tmp_path: Path) -> None:
    writer = CopyingWriter(str(tmp_path / "records"), 1 << 20, 2, Copy("json-file", str(tmp_path / "j"), max_size=500))
    for number in range(50):
        writer.write(1, b"%d\n" % number, NOW)
    writer.close()
    assert (tmp_path / "j").stat().st_size <= 500
    assert lines_of(tmp_path / "j")[-1]["log"] == "49\n"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.text(max_size=60)), max_size=10))
def test_nothing_is_lost(chunks: list[tuple[int, str]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        writer = CopyingWriter(f"{folder}/records", 1 << 20, 2, Copy("json-file", f"{folder}/j"))
        for kind, text in chunks:
            writer.write(kind, text.encode(), NOW)
        writer.close()
        with open(f"{folder}/j", encoding="utf-8", newline="\n") as file:
            told = [json.loads(line) for line in file]
    for kind, name in ((1, "stdout"), (2, "stderr")):
        said = "".join(text for one, text in chunks if one == kind)
        assert "".join(line["log"] for line in told if line["stream"] == name) == said


@pytest.mark.parametrize(
    ("format", "begin"),
    [
        ("", b"<30>"),
        ("rfc3164", b"<30>"),
        ("rfc5424", b"<30>1 2017-07-14T02:40:00Z "),
        ("rfc5424micro", b"<30>1 2017-07-14T02:40:00.1234Z "),
    ],
)
def test_syslog(tmp_path: Path, format: str, begin: bytes) -> None:
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(tmp_path / "log"))
    copy = Copy("syslog", f"unixgram://{tmp_path}/log", tag="mine", format=format)
    writer = CopyingWriter(str(tmp_path / "records"), 1 << 20, 2, copy)
    writer.write(1, b"hello\nthere\n", NOW)
    writer.write(2, b"wrong\n", NOW)
    messages = [receiver.recv(1000) for _ in range(3)]
    assert messages[0].startswith(begin)
    assert b" mine" in messages[0]
    assert messages[0].endswith(b"hello")
    assert messages[2].startswith(b"<27>")
    receiver.close()
    (tmp_path / "log").unlink()
    writer.write(1, b"nobody listens\n", NOW)  # and nothing happens
    writer.close()
    assert b"nobody listens" in read(tmp_path / "records")


def test_syslog_over_udp(tmp_path: Path) -> None:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    copy = Copy("syslog", f"udp://127.0.0.1:{receiver.getsockname()[1]}", tag="t", facility=16)
    writer = CopyingWriter(str(tmp_path / "records"), 1 << 20, 2, copy)
    writer.write(1, b"far away\n", NOW)
    assert receiver.recv(1000).startswith(b"<134>")
    writer.close()
    receiver.close()


def test_a_slow_receiver_holds_nobody_up(tmp_path: Path) -> None:
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(tmp_path / "log"))
    writer = CopyingWriter(str(tmp_path / "records"), 1 << 24, 2, Copy("syslog", f"unix://{tmp_path}/log", tag="t"))
    for _ in range(5000):
        writer.write(1, b"x" * 500 + b"\n", NOW)
    assert writer._sink.lost > 0  # type: ignore[attr-defined]
    writer.close()
    receiver.close()
    assert read(tmp_path / "records").count(b"\n") == 5000


def test_the_journals_protocol() -> None:
    entry = journal_entry({"PRIORITY": "6", "X": "two\nlines"}, b"text")
    assert entry == b"PRIORITY=6\nX\n" + struct.pack("<Q", 9) + b"two\nlines\nMESSAGE=text\n"


@pytest.mark.parametrize("text", ["", "tcp://1.2.3.4:5", "udp://x", "udp://x:0", "udp://x:99999", "unix://relative", "http://x:1"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        parse_address(text)


def test_addresses() -> None:
    assert parse_address("unix:///dev/log") == (socket.AF_UNIX, "/dev/log")
    assert parse_address("udp://[::1]:514") == (socket.AF_INET6, ("::1", 514))
    assert rfc3339(1_500_000_000 * 10**9) == "2017-07-14T02:40:00Z"
