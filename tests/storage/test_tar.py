"""Tar, pax, sparse and compressed streams: what is read, what is refused, and that reading stays linear."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.storage.tars import directory, fixed, hardlink, member, portions, raw, special, symlink, tar

from gorae.errors import CorruptData
from gorae.storage.archive import pax, writer
from gorae.storage.archive.compression import decompressed, detect
from gorae.storage.archive.entry import Entry, Kind, Limits
from gorae.storage.archive.reader import Reader

KEYS = st.binary(min_size=1, max_size=20).filter(lambda key: not {0, 61} & set(key))
NAMES = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name and not name.endswith(b"/"))


def read(data: bytes, size: int = 1 << 16, limits: Limits = Limits()) -> list[tuple[Entry, bytes]]:  # noqa: B008
    reader = Reader(portions(data, size), limits)
    return [(entry, b"".join(reader.portions())) for entry in reader]


MEMBERS = (
    directory("d", mode=0o1777, mtime=5),
    member("d/" + "n" * 90 + "/" + "m" * 90, b"x" * 1000, uid=1000, gid=1001, mode=0o4755),
    member("umlaut-ä-고래", b"", mtime=1_700_000_000),
    member("long/" * 60 + "end", b"y" * 512),
    symlink("s", "../" * 80 + "somewhere"),
    hardlink("h", "umlaut-ä-고래"),
    member("c", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    member("b", type=tarfile.BLKTYPE, devmajor=254, devminor=70000),
    member("f", type=tarfile.FIFOTYPE),
    member("big-id", b"z", uid=2_000_000_000, gid=3_000_000_000),
)


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("size", [1, 511, 700, 1 << 20])
def test_what_python_writes(format: int, size: int) -> None:
    found = read(tar(*MEMBERS, format=format), size)
    assert len(found) == len(MEMBERS)
    for (info, data), (entry, read_data) in zip(MEMBERS, found, strict=True):
        assert entry.name.rstrip(b"/") == info.name.encode()
        assert entry.kind.value == info.type
        assert (entry.mode, entry.uid, entry.gid, entry.mtime) == (info.mode, info.uid, info.gid, info.mtime * 10**9)
        assert (entry.link, entry.major, entry.minor) == (info.linkname.encode(), info.devmajor, info.devminor)
        assert read_data == data


def test_extended_attributes_and_nanoseconds() -> None:
    info, data = member("f", b"x")
    info.pax_headers = {"mtime": "1350244992.023960108", "SCHILY.xattr.user.a": "b\nc=d"}
    [(entry, _)] = read(tar((info, data)))
    assert entry.mtime == 1350244992_023960108
    assert entry.xattrs == {b"user.a": b"b\nc=d"}


@settings(max_examples=80, deadline=None)
@given(
    name=NAMES,
    link=NAMES,
    kind=st.sampled_from(Kind),
    ids=st.tuples(st.integers(0, 2**32 - 2), st.integers(0, 2**32 - 2)),
    mtime=st.integers(-(10**18), 10**20),
    mode=st.integers(0, 0o7777),
    data=st.binary(max_size=1500),
    xattrs=st.dictionaries(KEYS, st.binary(max_size=50), max_size=3),
)
def test_what_is_written_is_read(
    name: bytes, link: bytes, kind: Kind, ids: tuple[int, int], mtime: int, mode: int, data: bytes, xattrs: dict[bytes, bytes]
) -> None:
    data = data if kind is Kind.FILE else b""
    entry = Entry(name, kind, mode, *ids, len(data), mtime, xattrs=xattrs)
    if kind in (Kind.SYMLINK, Kind.LINK):
        entry.link = link
    if kind in (Kind.CHARACTER, Kind.BLOCK):
        entry.major, entry.minor = 7, 1_000_000
    [(again, content)] = read(raw((entry, data)))
    assert again.name.removesuffix(b"/") == name
    again.name = name
    assert (again, content) == (entry, data)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(KEYS, st.binary())))
def test_pax_records_there_and_back(records: list[tuple[bytes, bytes]]) -> None:
    records = [(key, value) for key, value in records if key not in pax.NUL_MATTERS]
    assert pax.parse(pax.format(records)) == records


@settings(max_examples=100, deadline=None)
@given(st.integers(-(10**27), 10**27))
def test_times_are_exact(nanoseconds: int) -> None:
    assert pax.nanoseconds(pax.seconds(nanoseconds)) == nanoseconds


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000), st.integers(0, 600), st.binary(min_size=1, max_size=20))
def test_whatever_bytes_there_are_the_answer_is_members_or_corrupt_data(noise: bytes, position: int, patch: bytes) -> None:
    good = bytearray(tar(member("a", b"x" * 10, uid=2**31), directory("d")))
    good[position : position + len(patch)] = patch
    for data in (noise, bytes(good), fixed(good[:512]) + good[512:]):
        try:
            read(bytes(data))
        except CorruptData:
            pass


def test_the_same_entries_give_the_same_bytes() -> None:
    entry = Entry(b"a" * 200, Kind.FILE, uid=9_999_999, mtime=5, xattrs={b"b": b"1", b"a": b"2"})
    twin = Entry(b"a" * 200, Kind.FILE, uid=9_999_999, mtime=5, xattrs={b"a": b"2", b"b": b"1"})
    assert writer.header(entry) == writer.header(twin)


@pytest.mark.parametrize("cut", [100, 511, 513, 1000, 1023])
def test_a_truncated_archive(cut: int) -> None:
    with pytest.raises(CorruptData, match="truncated"):
        read(tar(member("a", b"x" * 1000))[:cut])


@pytest.mark.parametrize("end", [b"", bytes(512), bytes(1024), bytes(1024) + b"what follows is ignored"])
def test_an_archive_may_end_without_its_mark(end: bytes) -> None:
    assert [entry.name for entry, _ in read(raw((Entry(b"a", Kind.FILE, size=3), b"abc"))[:1024] + end)] == [b"a"]


def test_all_is_read_to_the_end() -> None:
    data = tar(member("a")) + b"more" * 5000
    left = [data[:2048], data[2048:], b""]
    reader = Reader(lambda: left.pop(0))
    assert len(list(reader)) == 1
    assert left == []


def sparse_header(size: bytes, extents: bytes) -> bytes:
    return special(b"x", pax.format([(b"GNU.sparse.size", size), (b"GNU.sparse.map", extents)]))


BAD = {
    "checksum": bytes([1]) + tar(member("a"))[1:],
    "noise": os.urandom(1024) + b"x",
    "one block of zeros": bytes(512) + tar(member("a")),
    "unknown type": special(b"V", b""),
    "negative size": special(b"0", b"", size=0)[:124] + b"\xff" * 12 + special(b"0", b"")[136:],
    "pax: no length": special(b"x", b"path=x\n"),
    "pax: too long": special(b"x", b"99 path=x\n"),
    "pax: too short": special(b"x", b"3 path=x\n"),
    "pax: zero": special(b"x", b"0 path=x\n"),
    "pax: no equals sign": special(b"x", b"7 path\n"),
    "pax: NUL": special(b"x", pax.format([(b"path", b"a\0b")])),
    "pax: negative size": special(b"x", pax.format([(b"size", b"-5")])) + tar(member("a")),
    "pax: huge size": special(b"x", pax.format([(b"size", b"9" * 30)])) + tar(member("a")),
    "pax: huge uid": special(b"x", pax.format([(b"uid", b"4294967295")])) + tar(member("a")),
    "pax: time of letters": special(b"x", pax.format([(b"mtime", b"noon")])) + tar(member("a")),
    "pax: header too long": special(b"x", pax.format([(b"comment", b"c" * (1 << 20))])) + tar(member("a")),
    "headers one after the other": special(b"x", pax.format([(b"comment", b"c" * 400_000)])) * 3 + tar(member("a")),
    "GNU long name too long": special(b"L", b"n" * (64 << 20)) + tar(member("a")),
    "path too long": special(b"L", b"n" * 5000) + tar(member("a")),
    "sparse without a map": special(b"x", pax.format([(b"GNU.sparse.realsize", b"5")])) + tar(member("a")),
    "sparse outside": sparse_header(b"5", b"4,2") + tar(member("a", b"xx")),
    "sparse overlap": sparse_header(b"9", b"0,2,1,2") + tar(member("a", b"xxxx")),
    "sparse: odd": sparse_header(b"9", b"0,2,1") + tar(member("a", b"xx")),
    "sparse: other length": sparse_header(b"9", b"0,2") + tar(member("a", b"xxx")),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_refused(what: str) -> None:
    data = BAD[what]
    if "size" in what and "negative" in what and "pax" not in what:
        data = fixed(bytearray(data[:512])) + data[512:]
    with pytest.raises(CorruptData):
        read(data)


def test_limits() -> None:
    many = tar(*(member(str(number), b"x" * 10) for number in range(20)))
    with pytest.raises(CorruptData, match="19 members"):
        read(many, limits=Limits(entries=19))
    with pytest.raises(CorruptData, match="199 bytes of files"):
        read(many, limits=Limits(size=199))
    assert len(read(many, limits=Limits(entries=20, size=200))) == 20


@pytest.mark.parametrize(
    "bomb", [b"1" * 900_000, b"1 " * 400_000, b"9" * 10 + b" " + b"=" * 900_000, b"12 a=bcdefg\n" * 70_000, b"\n" * 900_000]
)
def test_extended_headers_take_linear_time(bomb: bytes) -> None:
    """64 KiB of digits cost Python's tarfile 5.7 s, quadratically; here is fourteen times as much."""
    start = time.process_time()
    try:
        read(special(b"x", bomb) + tar(member("a")))
    except CorruptData:
        pass
    assert time.process_time() - start < 1


def test_sparse_maps_take_linear_time() -> None:
    start = time.process_time()
    records = pax.format([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.realsize", b"5")])
    data = (b"9" * 6 + b"\n" + b"1\n" * 450_000).ljust(1 << 20, b"\n")
    with pytest.raises(CorruptData):
        read(special(b"x", records) + tar(member("a", data)))
    assert time.process_time() - start < 2


@pytest.mark.peer
@pytest.mark.parametrize("version", ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"])
@pytest.mark.parametrize("holes", [1, 40])
def test_sparse_files_as_gnu_tar_writes_them(tmp_path: Path, version: str, holes: int) -> None:
    with (tmp_path / "s").open("wb") as file:
        for number in range(holes):
            file.seek(number * 200_000 + 100_000)
            file.write(b"data%d" % number)
        file.truncate(holes * 200_000 + 55_555)
    format = [version] if "format" in version else ["--format=pax", version]
    data = subprocess.run(["tar", "-cS", *format, "-C", str(tmp_path), "s"], check=True, capture_output=True).stdout
    [(entry, stored)] = read(data)
    assert entry.name == b"s"
    assert entry.size == holes * 200_000 + 55_555
    assert entry.extents is not None
    content = bytearray(entry.size)
    for offset, length in entry.extents:
        content[offset : offset + length], stored = stored[:length], stored[length:]
    assert bytes(content) == (tmp_path / "s").read_bytes()


@pytest.mark.peer
def test_python_reads_what_we_write() -> None:
    entries = [
        (Entry(b"d", Kind.DIRECTORY, mode=0o750, mtime=1_500_000_000_5 * 10**8), b""),
        (Entry("ä/".encode() * 60 + b"f", Kind.FILE, size=3, uid=5_000_000, xattrs={b"user.x": b"y"}), b"abc"),
        (Entry(b"l" * 120, Kind.SYMLINK, link=b"t" * 300), b""),
    ]
    with tarfile.open(fileobj=io.BytesIO(raw(*entries))) as archive:
        infos = archive.getmembers()
        assert [info.name.encode() for info in infos] == [entry.name for entry, _ in entries]
        assert infos[0].mtime == 1_500_000_000.5
        assert infos[1].uid == 5_000_000
        assert infos[1].pax_headers["SCHILY.xattr.user.x"] == "y"
        assert infos[2].linkname == "t" * 300
        file = archive.extractfile(infos[1])
        assert file is not None
        assert file.read() == b"abc"


PACK = {
    "": lambda data: data,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}


def plain(data: bytes, size: int = 1000) -> bytes:
    read = decompressed(portions(data, size))
    out = b""
    while portion := read():
        assert len(portion) <= 1 << 20
        out += portion
    assert read() == b""
    return out


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("size", [1, 5, 1000, 1 << 20])
def test_each_compression(kind: str, size: int) -> None:
    data = b"".join(b"line %d\n" % number for number in range(2000 if size < 10 else 200_000)) + os.urandom(3000)
    packed = PACK[kind](data)
    assert detect(packed[:6]) == kind
    assert plain(packed, size) == data
    assert plain(packed + packed, size) == data + data


@pytest.mark.parametrize("kind", [kind for kind in PACK if kind])
def test_damaged_and_truncated_streams(kind: str) -> None:
    packed = PACK[kind](os.urandom(50_000))
    for cut in (len(packed) // 2, len(packed) - 1, 7):
        with pytest.raises(CorruptData):
            plain(packed[:cut])
    broken = bytearray(packed)
    broken[len(packed) // 2] ^= 0xFF
    with pytest.raises(CorruptData):
        plain(bytes(broken))


@pytest.mark.parametrize("kind", [kind for kind in PACK if kind])
def test_a_bomb_comes_in_bounded_portions(kind: str) -> None:
    packed = PACK[kind](bytes(200 << 20)) if kind != "zstd" else zstandard.ZstdCompressor(19).compress(bytes(200 << 20))
    read = decompressed(portions(packed, 1 << 20))
    total = 0
    while portion := read():
        assert len(portion) <= 1 << 20
        total += len(portion)
    assert total == 200 << 20


def test_zstd_skippable_frames_and_padding() -> None:
    frame = zstandard.ZstdCompressor().compress(b"hello")
    skipped = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"notes"
    assert plain(frame + skipped + frame) == b"hellohello"
    with pytest.raises(CorruptData):
        plain(frame + b"rubbish")
    assert plain(gzip.compress(b"hello") + bytes(700)) == b"hello"
