"""Docker's user strings against the container's own files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.errors import BirthError, InvalidArgument
from gorae.oci import runtimespec
from gorae.runtime import birth, identity
from gorae.runtime.birth import Context
from gorae.runtime.identity import Identity
from tests.runtime import stage

PASSWD = identity.accounts(stage.PASSWD.encode())
GROUP = identity.groups(stage.GROUP.encode())


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", Identity(0, 0, (0,), "/root")),
        ("root", Identity(0, 0, (0,), "/root")),
        ("0", Identity(0, 0, (0,), "/root")),
        ("alice", Identity(1000, 1000, (1000, 100, 10), "/home/alice")),
        ("1000", Identity(1000, 1000, (1000, 100, 10), "/home/alice")),
        ("alice:users", Identity(1000, 100, (100,), "/home/alice")),
        ("alice:7", Identity(1000, 7, (7,), "/home/alice")),
        ("77", Identity(77, 0, (0,), "/")),
        ("77:88", Identity(77, 88, (88,), "/")),
        (":users", Identity(0, 100, (100,), "/root")),
        ("4242", Identity(4242, 0, (0,), "/")),  # CVE-2016-3697: a user of that *name* has uid 0
        ("bob:4242", Identity(1001, 4242, (4242,), "/home/bob")),
        ("2147483647", Identity(2147483647, 0, (0,), "/")),
    ],
)
def test_choose(user: str, expected: Identity) -> None:
    assert identity.choose(user, (), PASSWD, GROUP) == expected


def test_more_groups() -> None:
    assert identity.choose("bob", ("users", "55"), PASSWD, GROUP).groups == (100, 10, 55)


@pytest.mark.parametrize(
    "user",
    [
        "+0",
        "-1",
        "2147483648",
        "4294967296",
        "99999999999999999999",
        "a b",
        "a:b:c",
        "a/b",
        "0:2147483648",
        "alice:+1",
        "x\n",
        "\tx",
        "0x0 ",
    ],
)
def test_refused(user: str) -> None:
    """CVE-2024-40635 and its kin."""
    with pytest.raises(InvalidArgument):
        identity.choose(user, (), PASSWD, GROUP)
    with pytest.raises(InvalidArgument):
        birth.plan(runtimespec.decode(stage.config("/x", "true")), Context("box", user=user))


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("nobody", "unable to find user nobody: no matching entries in passwd file"),
        ("root:none", "unable to find group none: no matching entries in group file"),
        ("1e3", "unable to find user 1e3: no matching entries in passwd file"),
        ("٣", "unable to find user ٣: no matching entries in passwd file"),
    ],
)
def test_dockers_words(user: str, words: str) -> None:
    with pytest.raises(BirthError, match=words):
        identity.choose(user, (), PASSWD, GROUP)


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_no_file_is_too_strange(data: bytes) -> None:
    for account in identity.accounts(data):
        assert 0 <= account.uid <= identity.HIGHEST
        assert 0 <= account.gid <= identity.HIGHEST
    for group in identity.groups(data):
        assert 0 <= group.gid <= identity.HIGHEST
    assert identity.home_of(data, 0).startswith("/")


@settings(max_examples=100)
@given(st.text(max_size=12), st.integers(0, identity.HIGHEST))
def test_digits_are_a_number_first(name: str, uid: int) -> None:
    trap = [identity.Account(str(uid), 0, 0, "/")]
    assert identity.choose(str(uid), (), trap, []).uid == uid
    try:
        found = identity.choose(name, (), [], [])
    except (InvalidArgument, BirthError):
        return
    assert name.partition(":")[0] in ("", str(found.uid)) or int(name.partition(":")[0]) == found.uid


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("user", "line"),
    [
        ("alice", "uid=1000(alice) gid=1000(alice) groups=10(wheel),100(users),1000(alice)"),
        ("4242", "uid=4242 gid=0(root) groups=0(root)"),
        ("77:88", "uid=77 gid=88 groups=88"),
        ("bob:0", "uid=1001(bob) gid=0(root) groups=0(root)"),
    ],
)
def test_in_a_container(image: Path, context: Context, user: str, line: str) -> None:
    outcome = stage.run(stage.config(image, "id"), dataclasses.replace(context, user=user))
    assert outcome.lines == [line]


@pytest.mark.kernel
def test_ids_of_the_specification(image: Path, context: Context) -> None:
    document = stage.config(
        image, "sh", "-c", "id; echo $HOME; umask", user={"uid": 1000, "gid": 100, "additionalGids": [10, 55], "umask": 0o77}
    )
    assert stage.run(document, context).lines == [
        "uid=1000(alice) gid=100(users) groups=10(wheel),55,100(users)",
        "/home/alice",
        "0077",
    ]


@pytest.mark.kernel
def test_a_given_home_stays(image: Path, context: Context) -> None:
    document = stage.config(image, "sh", "-c", "echo $HOME")
    document["process"]["env"].append("HOME=/elsewhere")
    assert stage.run(document, dataclasses.replace(context, user="alice")).lines == ["/elsewhere"]


@pytest.mark.kernel
def test_without_passwd_numbers_still_work(rootfs: Path, context: Context) -> None:
    for name in ("passwd", "group"):
        (rootfs / "etc" / name).unlink()
    outcome = stage.run(stage.config(rootfs, "sh", "-c", "id -u; id -g; echo $HOME"), dataclasses.replace(context, user="5:6"))
    assert outcome.lines == ["5", "6", "/"]
