"""Control files are read and written whole, in one call each."""

from __future__ import annotations

import os

from gorae.linux import libc


def write(path: str, value: str) -> None:
    """One write(2): control files take a value a call."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise libc.named(error, "open", path) from None
    try:
        os.write(descriptor, value.encode())
    except OSError as error:
        raise libc.named(error, f"write {value}", path) from None
    finally:
        os.close(descriptor)


def read(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise libc.named(error, "open", path) from None
    try:
        text = b""
        while part := os.read(descriptor, 65536):
            text += part
        return text.decode()
    except OSError as error:
        raise libc.named(error, "read", path) from None
    finally:
        os.close(descriptor)


def read_or_empty(path: str) -> str:
    """ "" where there is no such file, or the cgroup went away under the reader."""
    try:
        return read(path)
    except OSError:
        return ""
