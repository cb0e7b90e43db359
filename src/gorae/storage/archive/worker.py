"""The process that unpacks one archive, and can do nothing else.

    stdin    one line of JSON, the job; then, while the archive is still growing, 8 bytes (little-endian) for each new length;
    its end is the end
    stdout   one line of JSON: what was done, or what was wrong
    job      archive, target, lowers: numbers of inherited descriptors · hash: is the digest of the plain bytes wanted · follow
    · limits

Before the first byte of the archive is looked at, the process has a bounded address space, no core dump, a CPU limit, only the
capabilities that unpacking takes, cannot gain any, dies with its parent, and has its root directory at the target: whatever is
wrong with the code below, there is no other file to be reached by a path. Nothing is imported afterwards.

    python -I -m gorae.storage.archive.worker
"""

from __future__ import annotations

import ctypes
import encodings.ascii
import errno
import hashlib
import json
import os
import queue
import resource
import signal
import struct
import sys
import threading
from collections.abc import Callable

from gorae.errors import CorruptData, GoraeError
from gorae.linux import capability, process
from gorae.storage.archive import zstd
from gorae.storage.archive.compression import decompressed, detect
from gorae.storage.archive.entry import Limits
from gorae.storage.archive.extract import Extractor
from gorae.storage.archive.reader import Reader

MEMORY = 512 << 20
CPU = 600  # seconds
PORTION = 1 << 20
# CAP_SYS_ADMIN for trusted.*, where overlayfs keeps its marks.
KEPT = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_MKNOD", "CAP_SETFCAP", "CAP_SYS_ADMIN")
LOADED = (encodings.ascii, zstd)  # which are used by name, or late, when there is no library to be found any more
HOSTILE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EXDEV, errno.EMLINK, errno.ENOENT)


def main() -> int:
    job = json.loads(_line(0))
    try:
        answer = _work(job)
    except GoraeError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        answer = {"error": "CorruptData", "message": "unpacking takes more memory than is allowed"}
    except OSError as error:
        kind = "CorruptData" if error.errno in HOSTILE else "OSError"
        answer = {"error": kind, "errno": error.errno, "message": f"the file system refuses a member: {error.strerror}"}
    os.write(1, json.dumps(answer).encode() + b"\n")
    return 0


def _work(job: dict[str, object]) -> dict[str, object]:
    archive, target = int(str(job["archive"])), int(str(job["target"]))
    lowers = [int(number) for number in job["lowers"]]  # type: ignore[attr-defined]
    limits = Limits(**job["limits"])  # type: ignore[arg-type]
    confine(target)
    source = Source(archive, follow=bool(job["follow"]), hash=str(job["hash"]), hash_plain=bool(job["hash_plain"]))
    reader = Reader(source.read, limits)
    extractor = Extractor(target, lowers)
    entries = 0
    for entry in reader:
        extractor.extract(entry, reader.portions())
        entries += 1
    extractor.finish()
    digest = source.digest()
    if job["sync"]:
        _sync(target)
    return {"entries": entries, "size": extractor.size, "digest": digest, "ignored": extractor.ignored}


def confine(target: int) -> None:
    process.set_pdeathsig(signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU))
    process.set_no_new_privs()
    os.fchdir(target)
    os.chroot(".")
    kept = capability.mask(KEPT) & capability.get().permitted
    capability.drop_bounding(capability.bounding() & ~kept)
    capability.set(kept, kept, 0)


class Source:
    """The plain bytes of the archive, in portions. Decompression and the digest run in a thread beside: both let go of
    Python's lock."""

    def __init__(self, descriptor: int, *, follow: bool, hash: str, hash_plain: bool = True) -> None:
        self._file = _Growing(descriptor) if follow else _Whole(descriptor)
        self._hash = hashlib.new(hash) if hash else None
        first = self._file.read()
        held = [first] if first else []
        raw = lambda: held.pop() if held else self._file.read()  # noqa: E731
        plain_is_known = not detect(first) and not hash_plain
        if plain_is_known:
            self._hash = None
        if self._hash is None and not detect(first):
            self.read: Callable[[], bytes] = raw
            return
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(maxsize=8)
        plain = decompressed(raw)
        self.read = self._next
        self._thread = threading.Thread(target=self._run, args=(plain,), daemon=True)
        self._thread.start()

    def digest(self) -> str:
        """After the end was read."""
        return f"{self._hash.name}:{self._hash.hexdigest()}" if self._hash else ""

    def _run(self, plain: Callable[[], bytes]) -> None:
        try:
            while True:
                portion = plain()
                self._queue.put(portion)
                if not portion:
                    return
                if self._hash is not None:
                    self._hash.update(portion)
        except BaseException as error:
            self._queue.put(error)

    def _next(self) -> bytes:
        portion = self._queue.get()
        if isinstance(portion, BaseException):
            raise portion
        if not portion:
            self._queue.put(b"")  # again and again
            self._thread.join()
        return portion


class _Whole:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0

    def read(self) -> bytes:
        data = os.pread(self._descriptor, PORTION, self._offset)
        self._offset += len(data)
        return data


class _Growing(_Whole):
    """A file that somebody else is writing, who says on stdin how far."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._length = 0
        self._ended = False

    def read(self) -> bytes:
        while self._offset >= self._length and not self._ended:
            record = os.read(0, 8 * 4096)
            while len(record) % 8:
                more = os.read(0, 8 - len(record) % 8)
                if not more:
                    raise CorruptData("the archive was given up")
                record += more
            if record:
                (self._length,) = struct.unpack("<Q", record[-8:])
            else:
                self._ended = True
        return super().read() if self._offset < self._length else b""


def _line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(descriptor, 1)  # not one more: what follows is not for us yet
        if not byte:
            raise SystemExit("no job")
        line += byte
    return line


def _sync(descriptor: int) -> None:
    """All of the target's file system, as syncfs(2) does: thousands of small files one by one would take seconds."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(descriptor):
        raise OSError(ctypes.get_errno(), "syncfs")


if __name__ == "__main__":
    sys.exit(main())
