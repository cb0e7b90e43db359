"""The one tree of errors.

    GoraeError
    ├─ InvalidArgument      the caller's words are wrong; nothing was done
    ├─ NotFound             no such container, image, exec, …
    ├─ Conflict             clashes with something that exists, or with a state
    ├─ NotModified          already so
    ├─ Forbidden            not allowed
    ├─ Unsupported          known to Docker, not (yet) to us
    ├─ Unavailable          a part of the platform does not answer; trying again may help
    ├─ StorageFull          no space (or a read-only data root)
    ├─ CorruptData          a digest, size or format does not match
    └─ BirthError           a container's birth failed: which step, errno, path
       ├─ CommandNotFound       Docker's exit status 127
       └─ CommandNotExecutable  Docker's exit status 126

Messages are lower case and name the thing, the value and what to do next; where Docker's clients match on
words, they are Docker's. `linux` raises `OSError`, not these.
"""

from __future__ import annotations


class GoraeError(Exception):
    """Whatever the platform reports on purpose."""


class InvalidArgument(GoraeError):
    pass


class NotFound(GoraeError):
    pass


class Conflict(GoraeError):
    pass


class NotModified(GoraeError):
    pass


class Forbidden(GoraeError):
    pass


class Unsupported(GoraeError):
    pass


class Unavailable(GoraeError):
    pass


class StorageFull(GoraeError):
    pass


class CorruptData(GoraeError):
    pass


class BirthError(GoraeError):
    """A step of a birth failed; `errno` is 0 when the failure is not a system call's."""

    def __init__(self, message: str, *, step: str = "", errno: int = 0, path: str = "") -> None:
        super().__init__(message)
        self.step = step
        self.errno = errno
        self.path = path


class CommandNotFound(BirthError):
    pass


class CommandNotExecutable(BirthError):
    pass
