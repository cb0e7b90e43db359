"""Where names lead, who may give tokens, what a challenge says: pure."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.engine.remote import challenge, failure
from gorae.engine.remote.rules import Credentials, Origin, Rules, for_origin
from gorae.errors import InvalidArgument
from gorae.oci import reference


@pytest.mark.parametrize(
    ("host", "insecure"),
    [
        ("127.0.0.1:5000", True), ("127.8.0.1", True), ("localhost:5000", True), ("[::1]:5000", True), ("10.1.2.3:5000", True),
        ("lab.example:5000", True), ("lab.example", False), ("10.2.0.1", False), ("localhost.example", False), ("128.0.0.1", False),
    ],
)  # fmt: skip
def test_insecure(host: str, insecure: bool) -> None:
    rules = Rules(insecure=("10.1.0.0/16", "lab.example:5000", "nonsense/99"))
    assert rules.is_insecure(host) == insecure
    assert [origin.scheme for origin in rules.origins(host)] == (["https", "http"] if insecure else ["https"])
    assert rules.origins(host)[0].verified != insecure


@pytest.mark.parametrize(
    ("registry", "realm", "allowed"),
    [
        ("https://reg.example.com", "https://reg.example.com/token", True),
        ("https://reg.example.com", "https://auth.example.com/token", True),
        ("https://reg.example.com", "https://example.com/token", True),
        ("https://reg.example.com", "http://reg.example.com/token", False),
        ("https://reg.example.com", "http://auth.example.com/token", False),
        ("https://reg.example.com", "https://evilexample.com/token", False),
        ("https://reg.example.com", "https://example.com.evil.org/token", False),
        ("https://reg.example.com", "https://user@reg.example.com/token", False),
        ("https://example.co.uk", "https://evil.co.uk/token", False),
        ("https://reg.example.co.uk", "https://auth.example.co.uk/token", True),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/token", True),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", False),
        ("https://127.0.0.1:5000", "https://127.0.0.2/token", False),
        ("https://localhost:5000", "https://other:5000/token", False),
        ("https://reg.example.com", "https://tokens.example.org/x", True),
        ("https://reg.example.com", "file:///etc/passwd", False),
        ("https://reg.example.com", "", False),
    ],
)
def test_realms(registry: str, realm: str, allowed: bool) -> None:
    scheme, _, host = registry.partition("://")
    assert Rules(token_origins=("https://tokens.example.org",)).may_give_tokens(Origin(scheme, host), realm) == allowed


def test_places() -> None:
    rules = Rules(mirrors=("https://one:5000/", "http://two"), default="main.example")
    found = rules.places(reference.parse("app"))
    assert [(str(place.origins[0]), place.path, place.mirror) for place in found] == [
        ("https://one:5000", "library/app", True),
        ("https://one:5000", "app", True),
        ("http://two", "library/app", True),
        ("http://two", "app", True),
    ]
    assert [place.path for place in rules.places(reference.parse("team/app"))] == ["team/app"] * 2
    assert rules.meant(reference.parse("main.example/library/app:v1")) == reference.parse("app:v1")
    assert rules.meant(reference.parse("main.example/team/app:v1")) == reference.parse("team/app:v1")
    assert rules.meant(reference.parse("other.example/library/app")).domain == "other.example"
    with pytest.raises(InvalidArgument):
        rules.places(reference.parse("app"), push=True)
    with pytest.raises(InvalidArgument, match="registry-mirrors"):
        Rules(mirrors=("https://one/path",)).places(reference.parse("app"))


def test_whose_credentials() -> None:
    mine = Credentials("me", "word", server="https://host:5000/v1/")
    assert for_origin(mine, Origin("https", "host:5000"), mirror=False) == mine
    assert not for_origin(mine, Origin("https", "host"), mirror=False).given
    assert not for_origin(Credentials("me", "word"), Origin("https", "host"), mirror=True).given
    assert "word" not in repr(mine)


def test_challenges() -> None:
    header = 'Basic realm="a", Bearer realm="https://x/t",service="s, \\"1\\"",scope=repository:a:pull'
    found = challenge.parse([header, "Negotiate"])
    assert found == (challenge.Challenge("bearer", "https://x/t", 's, "1"', "repository:a:pull"), challenge.Challenge("basic", "a"))
    assert challenge.parse(["", "Digest x=1", "Bearer"]) == (challenge.Challenge("bearer"),)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=200), max_size=3))
def test_any_challenge(headers: list[str]) -> None:
    challenge.parse(headers)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(400, 499))
def test_any_refusal(data: bytes, status: int) -> None:
    assert str(failure.refused(status, data, "host")).isprintable()


def test_words() -> None:
    body = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown\\u001b[31m"}]}'
    assert str(failure.refused(404, body, "host")) == "manifest unknown: manifest unknown?[31m"
    assert failure.retry_after("7") == 7
    assert failure.retry_after("Fri, 01 Jan 2010 00:00:00 GMT") == 0
    assert failure.retry_after("soon") is None
