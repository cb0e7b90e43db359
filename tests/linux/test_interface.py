from __future__ import annotations

import pytest

from gorae.linux import interface, keyring, namespace

pytestmark = pytest.mark.kernel


def test_loopback_comes_up(in_child) -> None:
    def child() -> list[object]:
        before = interface.flags("lo") & interface.IFF_UP
        interface.bring_up()
        return [before, list(interface.names()), interface.flags("lo") & (interface.IFF_UP | interface.IFF_LOOPBACK)]

    assert in_child(child, namespace.CLONE_NEWNET) == [0, ["lo"], 9]
    assert "lo" in interface.names()


@pytest.mark.parametrize("name", ["nonesuch", "", "a-name-that-is-much-too-long"])
def test_no_such_interface(name: str) -> None:
    with pytest.raises(OSError, match="ioctl SIOCGIFFLAGS: No such device") as caught:
        interface.flags(name)
    assert caught.value.filename == name


def test_a_session_keyring_of_its_own(in_child) -> None:
    def child() -> list[object]:
        first = keyring.join_session_keyring("gorae-test")
        second = keyring.join_session_keyring()
        keyring.set_permissions(second, 0x3F3F0000)
        return [first, second, keyring.session_keyring()]

    first, second, current = in_child(child)
    assert first > 0
    assert second > 0
    assert first != second == current
    with pytest.raises(OSError, match="keyctl: "):
        keyring.set_permissions(0x7FFFFFFF, 0)
