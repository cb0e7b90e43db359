"""The pure parts: ranges, pages, names, keys, durations."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.oci.digest import Digest
from gorae.registry import layout
from gorae.registry.auth.tokens import Scope, parse_scopes
from gorae.registry.errors import STATUS, Refusal
from gorae.registry.http.paging import page
from gorae.registry.http.ranges import parse_chunk, parse_range
from gorae.registry.http.routes import find
from gorae.registry.names import check_name, tag_order

NAMES = st.from_regex(r"[a-z0-9]{1,4}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}(?:/[a-z0-9]{1,3}){0,3}", fullmatch=True)
DIGESTS = st.builds(Digest.of, st.binary(max_size=8), st.sampled_from(["sha256", "sha512"]))


@settings(max_examples=100)
@given(NAMES, DIGESTS, DIGESTS)
def test_keys_can_be_read_again(name: str, digest: Digest, other: Digest) -> None:
    assert check_name(name) == name
    assert layout.name_of(layout.catalog(name)) == name
    for key in (layout.blob(digest), layout.link(name, digest), layout.manifest(name, digest), layout.condemned(digest)):
        assert layout.digest_of(key) == digest
    assert layout.digest_of(layout.referrer(name, other, digest)) == digest
    assert layout.split(layout.referrer(name, other, digest)) == (
        name, "_referrers", f"{other.algorithm}/{other.hex}/{digest.algorithm}/{digest.hex}",
    )  # fmt: skip
    assert layout.split(layout.blob(digest)) is None


@settings(max_examples=100)
@given(st.text(max_size=60))
def test_no_name_leads_out_of_the_store(text: str) -> None:
    try:
        check_name(text)
    except Refusal:
        return
    assert not any(part in ("", ".", "..") or part.startswith("_") for part in text.split("/"))


@settings(max_examples=100)
@given(st.binary(min_size=1, max_size=50), st.integers(0, 60), st.integers(0, 60))
def test_ranges(data: bytes, first: int, last: int) -> None:
    for header, expected in (
        (f"bytes={first}-{last}", data[first : last + 1]),
        (f"bytes={first}-", data[first:]),
        (f"bytes=-{last}", data[-last:] if last else b""),
    ):
        try:
            found = parse_range(header, len(data))
        except Refusal:
            found = (0, 0)
        if found is None:
            assert last < first
        else:
            assert data[found[0] : found[1]] == expected


@settings(max_examples=100)
@given(st.text(max_size=30))
def test_ranges_of_nonsense(text: str) -> None:
    for parse in (lambda: parse_range(text, 10), lambda: parse_chunk(text)):
        status = 0
        try:
            parse()
        except Refusal as refusal:
            status = refusal.status
        assert status in (0, 416)


@settings(max_examples=100)
@given(st.lists(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,3}", fullmatch=True), unique=True, max_size=20), st.integers(1, 5))
def test_pages_are_the_whole(tags: list[str], count: int) -> None:
    ordered = sorted(tags, key=tag_order)
    seen: list[str] = []
    last: str | None = None
    while True:
        shown, last = page(ordered, count, last, tag_order)
        seen += shown
        if last is None:
            break
        assert len(shown) == count
    assert seen == ordered


@settings(max_examples=100)
@given(NAMES)
def test_routes(name: str) -> None:
    for tail, family, word in (
        ("tags/list", "tags", ""),
        ("manifests/v1", "manifest", "v1"),
        ("blobs/uploads/", "uploads", ""),
        ("blobs/uploads", "uploads", ""),
        ("blobs/uploads/x", "upload", "x"),
        ("blobs/sha256:0", "blob", "sha256:0"),
        ("referrers/x", "referrers", "x"),
    ):
        route, found, last = find(f"/v2/{name}/{tail}")
        assert (route.family, found, last) == (family, name, word)


def test_names_that_look_like_paths() -> None:
    assert find("/v2/a/blobs/uploads/manifests/v1")[1:] == ("a/blobs/uploads", "v1")
    assert find("/v2/a/tags/list/manifests/v1")[1:] == ("a/tags/list", "v1")


def test_scopes() -> None:
    assert parse_scopes(
        ["repository:a/b:pull,push registry:catalog:*", "repository:A:pull", "nonsense", "repository(plugin):x:pull"]
    ) == [
        Scope("repository", "a/b", ("pull", "push")),
        Scope("registry", "catalog", ("*",)),
        Scope("repository", "x", ("pull",)),
    ]


def test_every_code_has_a_status() -> None:
    specified = {
        "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED", "UNSUPPORTED",
        "TOOMANYREQUESTS",
    }  # fmt: skip
    assert specified <= set(STATUS)


@pytest.mark.parametrize(
    ("words", "told"),
    [(["serve", "--address", "0.0.0.0:0", "--storage", "memory:///"], "--insecure"), (["serve", "--idle", "soon"], "no duration"),
     (["serve", "--blob-limit", "much"], "no size"), (["gc", "--storage", "http://x"], "a directory or a URL"),
     (["token", "--key", "/nothing", "--scope", "x"], "no scope understood"), (["password", "a:b"], "no colon")],
)  # fmt: skip
def test_misuse_of_the_command(words: list[str], told: str) -> None:
    from gorae.cli.registry import registry

    result = CliRunner().invoke(registry, words, input="word\n")
    assert result.exit_code != 0
    assert told in f"{result.output} {result.exception}"


def test_a_directory_needs_none_of_the_extra_libraries() -> None:
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['bcrypt', 'cryptography', 'jwt', 'obstore']))\n"
        "import gorae.registry.serve as s; from gorae.registry.settings import Settings\n"
        "s.make_guard(Settings()); print('ok')"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "ok\n"


def test_passwords_keys_and_tokens_by_command(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from gorae.cli.registry import registry
    from gorae.registry.auth.keys import read_signing
    from gorae.registry.auth.passwords import parse
    from gorae.registry.auth.tokens import verify

    run = CliRunner().invoke
    line = run(registry, ["password", "me", "--rounds", "4"], input="word\n").output
    assert list(parse(line.encode())) == ["me"]
    path = str(tmp_path / "key")
    assert "BEGIN PUBLIC KEY" in run(registry, ["key", path]).output
    token = run(registry, ["token", "--key", path, "--scope", "repository:a:pull", "--user", "ci"]).output.strip()
    access = verify(token, (read_signing(path).public,), "gorae-registry", "gorae-registry")
    assert (access.user, access.may("read", "a"), access.may("write", "a"), access.may("read", "b")) == ("ci", True, False, False)
