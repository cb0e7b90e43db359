"""Writer and reader together: rotation, tail, since, until, torn tails, full disks, following."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gorae.linux.mount import MNT_DETACH, MS_REMOUNT, mount, umount2
from gorae.logs import files
from gorae.logs.lines import PIECE, Assembler, Block, drop_lines, split
from gorae.logs.reader import Position, Reader
from gorae.logs.record import BEGIN_SIZE, OVERHEAD, STDERR, STDOUT
from gorae.logs.writer import Writer

Chunk = tuple[int, bytes]


def read_all(reader: Reader) -> list[Block]:
    blocks: list[Block] = []
    with reader:
        while not reader.finished:
            blocks += reader.read_available()
    return blocks


def text(blocks: list[Block], stream: int | None = None) -> bytes:
    return b"".join(block.data for block in blocks if stream in (None, block.stream))


def lines_of(blocks: list[Block]) -> list[tuple[int, bytes]]:
    return [(line.stream, line.data) for block in blocks for line in split(block)]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "container.log")


# ── lines ──


chunks = st.lists(
    st.tuples(
        st.sampled_from((STDOUT, STDERR)),
        st.lists(st.sampled_from((b"a", b"bc", b"\n", b"x" * 5000)), max_size=9).map(b"".join),
    ),
    max_size=12,
)


@settings(max_examples=100)
@given(chunks)
def test_lines_are_put_together_and_nothing_is_lost(given_chunks: list[Chunk]) -> None:
    assembler = Assembler()
    blocks: list[Block] = []
    for time, (stream, data) in enumerate(given_chunks):
        blocks += assembler.feed(stream, time, data)
    blocks += assembler.flush()
    for stream in (STDOUT, STDERR):
        assert text(blocks, stream) == b"".join(data for kind, data in given_chunks if kind == stream)
    for block in blocks:
        assert block.data.endswith(b"\n") != block.partial
        assert not block.partial or (len(block.data) <= PIECE and b"\n" not in block.data)
        assert b"".join(line.data for line in split(block)) == block.data


def test_a_line_has_the_time_of_its_end() -> None:
    assembler = Assembler()
    assert assembler.feed(STDOUT, 1, b"one\ntw") == [Block(STDOUT, 1, b"one\n", False)]
    assert assembler.feed(STDERR, 2, b"warning\n") == [Block(STDERR, 2, b"warning\n", False)]
    assert assembler.feed(STDOUT, 3, b"o\nthree\n") == [Block(STDOUT, 3, b"two\nthree\n", False)]


def test_lines_are_dropped_from_the_front() -> None:
    block = Block(STDOUT, 1, b"a\nb\nc\n", False)
    assert drop_lines(block, 2) == (block._replace(data=b"c\n"), 0)
    assert drop_lines(block, 3) == (None, 0)
    assert drop_lines(block, 5) == (None, 2)


# ── round trips ──


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks, st.integers(200, 20000))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, given_chunks: list[Chunk], max_size: int) -> None:
    path = str(tmp_path_factory.mktemp("log") / "log")
    writer = Writer(path, max_size, 1000)
    for time, (stream, data) in enumerate(given_chunks):
        writer.write(stream, data, time)
    writer.close()
    blocks = read_all(Reader(path))
    for stream in (STDOUT, STDERR):
        assert text(blocks, stream) == b"".join(data for kind, data in given_chunks if kind == stream)
    assert text(read_all(Reader(path, stdout=False))) == text(blocks, STDERR)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks, st.integers(200, 20000), st.integers(0, 12))
def test_tail_is_the_end_of_everything(
    tmp_path_factory: pytest.TempPathFactory, given_chunks: list[Chunk], max_size: int, count: int
) -> None:
    path = str(tmp_path_factory.mktemp("log") / "log")
    writer = Writer(path, max_size, 1000)
    for time, (stream, data) in enumerate(given_chunks):
        if len(data) < PIECE:  # lines that come in pieces are counted by their ends, which this simple oracle does not know
            writer.write(stream, data.replace(b"x" * 5000, b"y"), time)
    writer.write(STDERR, b"\n")  # two unfinished lines have no order
    writer.close()
    everything = lines_of(read_all(Reader(path)))
    assert lines_of(read_all(Reader(path, tail=count))) == everything[len(everything) - count if count < len(everything) else 0 :]


def test_rotation_keeps_the_newest_files(path: str) -> None:
    writer = Writer(path, 1000, 3)
    for number in range(1000):
        writer.write(STDOUT, b"line %04d\n" % number)
    writer.close()
    assert sorted(os.listdir(os.path.dirname(path))) == ["container.log", "container.log.1", "container.log.2"]
    assert all(os.path.getsize(name) <= 1000 for name in files.names(path))
    lines = [line for _, line in lines_of(read_all(Reader(path)))]
    first = int(lines[0].split()[1])
    assert lines == [b"line %04d\n" % number for number in range(first, 1000)]
    assert len(lines) > 40


def test_one_file_only(path: str) -> None:
    writer = Writer(path, 500, 1)
    for number in range(100):
        writer.write(STDOUT, b"%d\n" % number)
    writer.close()
    assert files.names(path) == [path]
    assert lines_of(read_all(Reader(path)))[-1] == (STDOUT, b"99\n")


@pytest.mark.parametrize("renames", [0, 1, 2, 3])
def test_a_crash_between_the_renames_loses_nothing(path: str, renames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(path, 300, 4)
    written = 0
    while writer.generation < 2:
        writer.write(STDOUT, b"%d\n" % written)
        written += 1

    class Crash(BaseException):
        pass

    left = renames
    rename = os.rename

    def crash_later(source: str, target: str) -> None:
        nonlocal left
        if left == 0:
            raise Crash
        left -= 1
        rename(source, target)

    monkeypatch.setattr(os, "rename", crash_later)
    try:
        while writer.generation < 4:
            writer.write(STDOUT, b"%d\n" % written)
            written += 1
    except Crash:
        pass
    assert writer.generation == 2
    monkeypatch.undo()
    again = Writer(path, 300, 4)
    again.write(STDOUT, b"after\n")
    again.close()
    lines = [line for _, line in lines_of(read_all(Reader(path)))]
    assert lines == [b"%d\n" % number for number in range(written)] + [b"after\n"]


@pytest.mark.parametrize("torn", [1, 10, OVERHEAD, OVERHEAD + 3])
def test_a_torn_tail_is_cut_off_and_a_follower_goes_on(path: str, torn: int) -> None:
    writer = Writer(path)
    writer.write(STDOUT, b"whole\n")
    end = writer.position[1]
    writer.write(STDOUT, b"torn\n")
    os.truncate(path, end + torn)
    with Reader(path, follow=True) as reader:
        assert text(reader.read_available()) == b"whole\n"
        assert reader.read_available() == []
        again = Writer(path)
        assert again.position == (0, end)
        again.write(STDOUT, b"next\n")
        assert text(reader.read_available()) == b"next\n"
        again.close()
    writer.close()


@pytest.mark.parametrize("damage", [b"", b"\0" * 5000, b"\xf0\x9f\x90\x8b" * 50])
def test_damage_in_the_middle_costs_only_what_it_covers(path: str, damage: bytes) -> None:
    writer = Writer(path)
    writer.write(STDOUT, b"before\n")
    place = writer.position[1]
    writer.write(STDOUT, b"z" * 6000 + b"\n")
    writer.write(STDERR, b"after\n")
    with open(path, "r+b") as file:
        file.seek(place + 5)
        file.write(damage or b"?")
    assert lines_of(read_all(Reader(path))) == [(STDOUT, b"before\n"), (STDERR, b"after\n")]
    assert lines_of(read_all(Reader(path, tail=2))) == [(STDOUT, b"before\n"), (STDERR, b"after\n")]
    writer.close()


def test_a_file_whose_beginning_is_gone_is_begun_anew(path: str) -> None:
    for number in (1, 2):
        writer = Writer(path, 100, 5)
        while writer.generation < number:
            writer.write(STDOUT, b"x\n")
        writer.close()
    os.truncate(path, BEGIN_SIZE - 3)
    writer = Writer(path, 100, 5)
    assert writer.generation == 2
    writer.close()


def test_since_and_until(path: str) -> None:
    writer = Writer(path, 150, 9)
    for time in range(20):
        writer.write(STDOUT, b"%d\n" % time, time)
    writer.close()
    assert text(read_all(Reader(path, since=5, until=8))) == b"5\n6\n7\n8\n"
    assert text(read_all(Reader(path, since=18))) == b"18\n19\n"
    assert text(read_all(Reader(path, until=1))) == b"0\n1\n"
    assert text(read_all(Reader(path, until=8, tail=2))) == b"7\n8\n"
    assert text(read_all(Reader(path, since=30))) == b""


def test_up_to_a_position(path: str) -> None:
    writer = Writer(path, 200, 9)
    positions: list[Position] = []
    for number in range(30):
        writer.write(STDOUT, b"%d\n" % number)
        positions.append(writer.position)
    for number in (0, 7, 8, 29):
        assert len(lines_of(read_all(Reader(path, end=positions[number])))) == number + 1
        assert lines_of(read_all(Reader(path, end=positions[number], tail=1))) == [(STDOUT, b"%d\n" % number)]
    writer.close()


def test_an_unfinished_line_is_told_as_partial(path: str) -> None:
    writer = Writer(path)
    writer.write(STDOUT, b"prompt> ")
    assert read_all(Reader(path)) == [Block(STDOUT, read_all(Reader(path))[0].time, b"prompt> ", True)]
    writer.close()


def test_a_missing_log_is_empty(path: str) -> None:
    assert read_all(Reader(path)) == []
    assert read_all(Reader(path, tail=3)) == []


# ── following ──


def test_following_over_rotations(path: str) -> None:
    with Reader(path, follow=True) as reader:
        assert reader.read_available() == []
        writer = Writer(path, 400, 3)
        got = b""
        for number in range(200):
            writer.write(STDOUT, b"%d\n" % number)
            assert select.select([reader], [], [], 0)[0], "the change is not announced"
            got += text(reader.read_available())
            assert not select.select([reader], [], [], 0)[0], "the announcement was not taken"
        writer.write(STDOUT, b"no end")
        assert reader.read_available() == []
        writer.close()
        reader.finish()
        got += text(reader.read_available())
        reader.read_available()
        assert reader.finished
    assert got == b"".join(b"%d\n" % number for number in range(200)) + b"no end"


def test_a_slow_follower_loses_only_what_rotated_away(path: str) -> None:
    writer = Writer(path, 400, 2)
    with Reader(path, follow=True) as reader:
        writer.write(STDOUT, b"first\n")
        assert text(reader.read_available()) == b"first\n"
        for number in range(1000):
            writer.write(STDOUT, b"%d\n" % number)
        writer.close()
        reader.finish()
        blocks: list[Block] = []
        while not reader.finished:
            blocks += reader.read_available()
    lines = [int(line) for _, line in lines_of(blocks)]
    assert lines[0] == 0, "the file that was being read stays readable"
    assert lines[-1] == 999
    assert lines == sorted(lines)


def test_tail_and_follow(path: str) -> None:
    writer = Writer(path)
    writer.write(STDOUT, b"1\n2\n3\nun")
    with Reader(path, follow=True, tail=2) as reader:
        assert text(reader.read_available()) == b"2\n3\n"
        writer.write(STDOUT, b"finished\n")
        assert text(reader.read_available()) == b"unfinished\n"
    with Reader(path, follow=True, tail=0) as reader:
        assert reader.read_available() == []
        writer.write(STDOUT, b"new\n")
        assert text(reader.read_available()) == b"new\n"
    writer.close()


# ── a full disk ──


def failing_writes(monkeypatch: pytest.MonkeyPatch, behave: Callable[[int], int | OSError]) -> None:
    writev = os.writev

    def instead(fd: int, parts: tuple[bytes, ...]) -> int:
        size = sum(map(len, parts))
        answer = behave(size)
        if isinstance(answer, OSError):
            raise answer
        return writev(fd, [b"".join(bytes(part) for part in parts)[:answer]])

    monkeypatch.setattr(os, "writev", instead)


def test_lost_bytes_are_counted_and_told_when_there_is_space_again(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(path)
    writer.write(STDOUT, b"before\n")
    failing_writes(monkeypatch, lambda size: OSError(errno.ENOSPC, "full"))
    writer.write(STDOUT, b"lost one\n")
    monkeypatch.undo()
    failing_writes(monkeypatch, lambda size: size // 2)
    writer.write(STDERR, b"lost two\n")
    monkeypatch.undo()
    assert writer.lost == 18
    writer.write(STDOUT, b"after\n")
    assert writer.lost == 0
    writer.close()
    got = lines_of(read_all(Reader(path)))
    assert [line for _, line in got] == [
        b"before\n",
        b"gorae: 18 bytes of output were lost here: the log could not be written\n",
        b"after\n",
    ]
    assert lines_of(read_all(Reader(path, tail=2))) == got[1:]


def test_what_is_lost_at_the_end_is_told_on_close(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(path)
    failing_writes(monkeypatch, lambda size: OSError(errno.EIO, "broken"))
    writer.write(STDOUT, b"lost\n")
    monkeypatch.undo()
    writer.close()
    assert b"5 bytes" in text(read_all(Reader(path)))


@pytest.mark.kernel
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    mount("tmpfs", str(tmp_path), "tmpfs", 0, "size=256k")
    try:
        path = str(tmp_path / "log")
        writer = Writer(path, 100_000_000, 2)
        line = b"z" * 99 + b"\n"
        for _ in range(5000):
            writer.write(STDOUT, line)
        assert writer.lost > 100_000
        assert os.path.getsize(path) == writer.position[1], "the file ends with a whole record"
        assert writer.lost % len(line) == 0
        mount("tmpfs", str(tmp_path), "tmpfs", MS_REMOUNT, "size=1m")
        writer.write(STDERR, b"there is space again\n")
        assert writer.lost == 0
        writer.close()
        got = lines_of(read_all(Reader(path)))
        assert got[-1] == (STDERR, b"there is space again\n")
        assert b"bytes of output were lost here" in got[-2][1]
        assert int(got[-2][1].split()[1]) == (5000 - len(got) + 2) * len(line)
    finally:
        umount2(str(tmp_path), MNT_DETACH)


def test_rotation_without_space_goes_on_in_the_old_file(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(path, 200, 3)
    real_open = os.open

    def full(name: str, flags: int, mode: int = 0o777, **more: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, "full", name)
        return real_open(name, flags, mode, **more)

    monkeypatch.setattr(os, "open", full)
    for number in range(50):
        writer.write(STDOUT, b"%d\n" % number)
    monkeypatch.undo()
    assert writer.generation == 0
    for _ in range(2000):
        writer.write(STDOUT, b"z" * 50 + b"\n")
    assert writer.generation > 0
    writer.close()


def test_a_read_only_directory_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        Writer(str(tmp_path / "missing" / "log"))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "target")
    with pytest.raises(OSError):
        Writer(str(tmp_path / "log"))


def test_a_line_of_64_megabytes_passes_in_pieces(path: str) -> None:
    writer = Writer(path, 100_000_000, 2)
    for _ in range(1024):
        writer.write(STDOUT, b"x" * 65536)
    writer.write(STDOUT, b"\n")
    writer.close()
    size = 0
    last: list[Block] = []
    with Reader(path) as reader:
        while not reader.finished:
            blocks = reader.read_available()
            assert sum(len(block.data) for block in blocks) <= 2 << 20
            size += sum(len(block.data) for block in blocks)
            last = blocks[-1:] or last
    assert size == (64 << 20) + 1
    assert last[0].data.endswith(b"\n")


def test_no_descriptor_is_left_open(path: str) -> None:
    before = set(os.listdir("/proc/self/fd"))
    writer = Writer(path, 200, 3)
    for number in range(100):
        writer.write(STDOUT, b"%d\n" % number)
    read_all(Reader(path, tail=5))
    with Reader(path, follow=True) as reader:
        reader.read_available()
    writer.close()
    writer.close()
    assert set(os.listdir("/proc/self/fd")) == before
