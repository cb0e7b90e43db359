"""Log drivers and their options: pure."""

from __future__ import annotations

from pathlib import Path

import pytest

from gorae.engine.container import log_copies
from gorae.engine.container.model import Container, ContainerConfig, State
from gorae.errors import InvalidArgument


def container(driver: str, **options: str) -> Container:
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return Container(
        id="a" * 64,
        name="mine",
        created_at=0,
        image_id="sha256:" + "b" * 64,
        config=ContainerConfig(image="image:1"),
        state=State(),
        path="sleep",
        arguments=("1",),
        labels={"app": "x", "other": "y"},
        environment=("A=1", "B=2"),
        log_driver=driver,
        log_options=named,
        log_path="/j",
    )


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("local", {"nonsense": "1"}, "unknown log opt 'nonsense' for local"),
        ("none", {"max-size": "1m"}, "unknown log opt"),
        ("syslog", {"max-size": "1m"}, "unknown log opt 'max-size' for syslog"),
        ("json-file", {"max-size": "0"}, "max-size must be"),
        ("json-file", {"max-size": "1m", "max-file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"max-file": "3"}, "max-file cannot be set without max-size"),
        ("json-file", {"labels-regex": "("}, "invalid regular expression"),
        ("json-file", {"mode": "often"}, "invalid mode"),
        ("syslog", {"syslog-address": "tcp://1.1.1.1:1"}, "a slow receiver would hold the container up"),
        ("syslog", {"syslog-address": "unix:///no/where"}, "syslog is not there on this host"),
        ("syslog", {"syslog-address": "udp://1.1.1.1:1", "syslog-facility": "x"}, "invalid syslog facility"),
        ("syslog", {"syslog-address": "udp://1.1.1.1:1", "syslog-format": "x"}, "Invalid syslog format"),
    ],
)
def test_nonsense_is_refused(driver: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        log_copies.check(driver, options)


def test_journald_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(log_copies, "JOURNAL", str(tmp_path / "socket"))
    with pytest.raises(InvalidArgument, match="journald is not enabled on this host"):
        log_copies.check("journald", {})
    (tmp_path / "socket").touch()
    log_copies.check("journald", {"tag": "x"})


def test_what_each_driver_is_told() -> None:
    assert log_copies.copy_of(container("local"), "host") is None
    options = {"labels": "app,none", "env_regex": "^B", "max_size": "1k", "max_file": "3", "tag": "{{.Name}}"}
    copy = log_copies.copy_of(container("json-file", **options), "h")
    assert copy is not None
    assert (copy.target, copy.max_size, copy.max_file) == ("/j", 1024, 3)
    assert copy.fields == {"app": "x", "B": "2", "tag": "mine"}
    copy = log_copies.copy_of(container("syslog", syslog_address="udp://1.2.3.4:5", syslog_facility="local3"), "h")
    assert copy is not None
    assert (copy.tag, copy.facility, copy.target) == ("a" * 12, 19, "udp://1.2.3.4:5")
    copy = log_copies.copy_of(container("journald", tag="{{.ImageName}}/{{.ID}}", labels="app"), "h")
    assert copy is not None
    assert copy.tag == f"image:1/{'a' * 12}"
    assert (copy.fields["CONTAINER_NAME"], copy.fields["APP"]) == ("mine", "x")
