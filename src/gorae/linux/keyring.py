"""The kernel's key rings: a container gets a session ring of its own, so that it cannot search the host's keys."""

from __future__ import annotations

from gorae.linux import libc

KEYCTL_GET_KEYRING_ID = 0
KEYCTL_JOIN_SESSION_KEYRING = 1
KEYCTL_SETPERM = 5
KEYCTL_DESCRIBE = 6

KEY_SPEC_SESSION_KEYRING = -3


def join_session_keyring(name: str | None = None) -> int:
    """Join the session ring `name`, made if there is none that this user may search, or with None a new nameless one; its serial.

    ENOSYS where the kernel has no keys, EDQUOT when the user has too many.
    """
    return libc.call("keyctl", KEYCTL_JOIN_SESSION_KEYRING, None if name is None else libc.text(name), path=name)


def session_keyring() -> int:
    """The serial of the current session ring."""
    return libc.call("keyctl", KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0)


def set_permissions(serial: int, permissions: int) -> None:
    libc.call("keyctl", KEYCTL_SETPERM, serial, permissions)
