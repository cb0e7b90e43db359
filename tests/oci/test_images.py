"""Digests, references, platforms."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.errors import CorruptData, InvalidArgument
from gorae.oci import platform, reference
from gorae.oci.digest import Digest
from gorae.oci.platform import Platform
from gorae.oci.reference import Reference

SHA = "sha256:" + "0a" * 32


def test_a_digest_is_of_its_bytes() -> None:
    digest = Digest.of(b"x")
    assert (digest, digest.algorithm, digest.hex) == (f"sha256:{hashlib.sha256(b'x').hexdigest()}", "sha256", digest[7:])
    digest.verify(b"x", "blob")
    with pytest.raises(CorruptData, match="blob: its digest is"):
        digest.verify(b"y", "blob")
    assert Digest.of(b"x", "sha512").hex == hashlib.sha512(b"x").hexdigest()
    assert len(digest.short) == 12


@pytest.mark.parametrize(
    "text",
    [
        *("", "sha256", "sha256:", "sha256:" + "0a" * 31, SHA + "0", SHA + "\n", SHA.upper(), "sha256:" + "0A" * 32),
        *("md5:" + "0a" * 16, "sha512:" + "0a" * 32, "sha256:../../" + "0" * 58, "sha256+b64:" + "0a" * 32),
        *(" " + SHA, "SHA256:" + "0a" * 32),
        "sha256:" + "٠" * 64,
    ],
)
def test_anything_else_is_no_digest(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid digest"):
        Digest(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ubuntu", Reference("", "ubuntu", "latest")),
        ("library/ubuntu:22.04", Reference("", "ubuntu", "22.04")),
        ("user/app", Reference("", "user/app", "latest")),
        ("library/a/b", Reference("", "library/a/b", "latest")),
        ("localhost/app", Reference("localhost", "app", "latest")),
        ("localhost:5000/a/b:t", Reference("localhost:5000", "a/b", "t")),
        ("127.0.0.1:5000/x", Reference("127.0.0.1:5000", "x", "latest")),
        ("[::1]:5000/x:1", Reference("[::1]:5000", "x", "1")),
        ("Upper/x", Reference("Upper", "x", "latest")),
        ("reg.test/library/x", Reference("reg.test", "library/x", "latest")),
        (f"x@{SHA}", Reference("", "x", None, Digest(SHA))),
        (f"reg.test:1/x:t@{SHA}", Reference("reg.test:1", "x", "t", Digest(SHA))),
        ("a__b/c--d/e.f_g", Reference("", "a__b/c--d/e.f_g", "latest")),
        ("host:5000", Reference("", "host", "5000")),
    ],
)
def test_references(text: str, expected: Reference) -> None:
    assert reference.parse(text) == expected
    assert reference.parse(expected.familiar(), None) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "invalid reference format"),
        ("UPPER", "must be lowercase"),
        ("reg.test/Path", "must be lowercase"),
        ("a//b", "invalid reference format"),
        ("/a", "invalid reference format"),
        ("a/", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("../etc", "is no host"),
        ("..", "invalid reference format"),
        ("a:", "invalid tag"),
        ("a:-x", "invalid tag"),
        ("a:" + "t" * 129, "invalid tag"),
        ("a\n", "invalid reference format"),
        ("a:b\n", "invalid tag"),
        ("a@sha256:0", "invalid digest"),
        (f"a@{SHA}@{SHA}", "invalid digest"),
        ("0a" * 32, "cannot specify 64-byte hexadecimal strings"),
        ("-.x/a", "is no host"),
        ("reg.test:port/a", "is no host"),
        ("a b", "invalid reference format"),
        ("a/" * 128 + "a", "more than 255"),
        ("é", "invalid reference format"),
    ],
)
def test_what_is_no_reference(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        reference.parse(text)


COMPONENT = st.from_regex(r"[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,3})?", fullmatch=True)
REFERENCES = st.builds(
    Reference,
    st.sampled_from(["", "localhost", "reg.test", "Reg", "h:1", "[fe80::1]:5"]),
    st.lists(COMPONENT, min_size=1, max_size=3).map("/".join),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    st.none() | st.binary(max_size=3).map(Digest.of),
)


@settings(max_examples=100)
@given(REFERENCES)
def test_a_reference_reads_as_it_is_written(value: Reference) -> None:
    assert reference.parse(value.familiar(), None) == reference.parse(str(value), None)
    if value.domain or not value.path.startswith(("library/", "localhost/")):
        first = value.path.split("/")[0]
        if value.domain or "/" not in value.path or "." not in first:  # else that part is the domain
            assert reference.parse(value.familiar(), None) == value


@settings(max_examples=100)
@given(st.text(alphabet="aA0./:@_-[]\n é", max_size=12))
def test_what_is_read_is_safe_and_stable(text: str) -> None:
    try:
        value = reference.parse(text)
    except InvalidArgument:
        return
    assert reference.parse(value.familiar(), None) == value
    assert ".." not in value.path.split("/")
    assert value.path == value.path.lower()


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/X86-64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("armel", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("i386", "linux/386"),
        ("linux", "linux/riscv64"),
        ("macos/arm64", "darwin/arm64"),
        ("linux/unheard-of", "linux/unheard-of"),
    ],
)
def test_platforms_have_one_spelling(given_: str, expected: str) -> None:
    found = platform.parse(given_, Platform("riscv64", "linux"))
    assert str(found) == expected
    assert platform.normalise(found) == found


@pytest.mark.parametrize("text", ["", "a/b/c/d", "linux/", "/amd64", "unheard-of", "linux/a b", "linux/\n"])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(InvalidArgument, match="platform"):
        platform.parse(text, Platform("amd64", "linux"))


def test_the_best_image_for_a_machine() -> None:
    def best(machine: str, *offers: str | None) -> str | None:
        here = platform.parse(machine, Platform("amd64", "linux"))
        parsed = [None if each is None else platform.parse(each, here) for each in offers]
        index = platform.best(here, parsed)
        return None if index is None else offers[index] or "unnamed"

    assert best("linux/amd64", "linux/arm64", "linux/386", "linux/amd64") == "linux/amd64"
    assert best("linux/amd64", "linux/arm64", "linux/386") == "linux/386"
    assert best("linux/amd64", "linux/amd64/v2") is None
    assert best("linux/amd64/v3", "linux/amd64", "linux/amd64/v2", "linux/amd64/v4") == "linux/amd64/v2"
    assert best("linux/arm/v7", "linux/arm/v5", "linux/arm/v6", "linux/arm64") == "linux/arm/v6"
    assert best("linux/arm/v6", "linux/arm/v7") is None
    assert best("linux/arm64", "linux/arm/v7", "linux/arm64/v8") == "linux/arm64/v8"
    assert best("linux/arm64", "windows/arm64") is None
    assert best("linux/s390x", None, "linux/amd64") == "unnamed"
    assert platform.of_machine("x86_64") == Platform("amd64", "linux")
    assert platform.of_machine("armv7l") == Platform("arm", "linux", variant="v7")
