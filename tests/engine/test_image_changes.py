"""Dockerfile instructions applied to a configuration."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.engine.image import changes
from gorae.engine.image.model import HealthCheck, ImageConfig
from gorae.errors import InvalidArgument


def apply(*lines: str, **fields: object) -> ImageConfig:
    return changes.apply(ImageConfig(**fields), lines)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lines", "field", "value"),
    [
        (['CMD ["a", "b c"]'], "cmd", ("a", "b c")),
        (["cmd echo hi  there"], "cmd", ("/bin/sh", "-c", "echo hi  there")),
        (["CMD [not, json]"], "cmd", ("/bin/sh", "-c", "[not, json]")),
        (["CMD []"], "cmd", ()),
        (['SHELL ["/bin/bash", "-lc"]', "CMD x"], "cmd", ("/bin/bash", "-lc", "x")),
        (['ENTRYPOINT ["/init"]'], "entrypoint", ("/init",)),
        (["ENV A=1 B='2 3' C=\"4 $A\" D=a\\ b"], "env", ("A=1", "B=2 3", "C=4 ", "D=a b")),
        (["ENV A some words  here"], "env", ("A=some words  here",)),
        (["ENV A=1", "ENV A=2 B=$A"], "env", ("A=2", "B=1")),
        (["ENV A=1", "ENV B=${A}x C=${N:-none} D=${A:+yes}"], "env", ("A=1", "B=1x", "C=none", "D=yes")),
        (["ENV A=1", "ENV E='$A' F=\\$A"], "env", ("A=1", "E=$A", "F=$A")),
        (["EXPOSE 80 53/udp", "EXPOSE 80/TCP 81-82"], "exposed_ports", ("80/tcp", "53/udp", "81/tcp", "82/tcp")),
        (["LABEL a=b c=\"d e\"", "LABEL a=z", "LABEL old way"], "labels", {"a": "z", "c": "d e", "old": "way"}),
        (["USER 1000:1000"], "user", "1000:1000"),
        (["ENV U=me", "USER $U"], "user", "me"),
        (["WORKDIR /a", "WORKDIR b/../c"], "working_dir", "/a/c"),
        (["WORKDIR ../.."], "working_dir", "/"),
        (["VOLUME /a /b", 'VOLUME ["/c d"]', "VOLUME /a"], "volumes", ("/a", "/b", "/c d")),
        (["STOPSIGNAL SIGQUIT"], "stop_signal", "SIGQUIT"),
        (["ONBUILD RUN make", "ONBUILD copy . /"], "on_build", ("RUN make", "copy . /")),
        (["HEALTHCHECK NONE"], "healthcheck", HealthCheck(test=("NONE",))),
        (
            ["HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=5s --retries=3 CMD curl -f x"],
            "healthcheck",
            HealthCheck(
                test=("CMD-SHELL", "curl -f x"), interval=90 * 10**9, timeout=5 * 10**8, start_period=5 * 10**9, retries=3
            ),
        ),
        (['HEALTHCHECK CMD ["x"]'], "healthcheck", HealthCheck(test=("CMD", "x"))),
        (["", "  "], "cmd", None),
    ],
)
def test_each_instruction(lines: list[str], field: str, value: object) -> None:
    assert getattr(apply(*lines), field) == value


def test_a_new_entrypoint_drops_the_command_of_the_old_one() -> None:
    assert apply('ENTRYPOINT ["e"]', cmd=("old",)).cmd is None
    assert apply('CMD ["new"]', 'ENTRYPOINT ["e"]', cmd=("old",)).cmd == ("new",)


@pytest.mark.parametrize(
    "line",
    [
        "FROM scratch",
        "RUN x",
        "CMD",
        "ENV A",
        "ENV =x",
        "ENV A=1 B",
        'ENV A="open',
        "LABEL x",
        "EXPOSE 0",
        "EXPOSE 65536",
        "EXPOSE 9-8",
        "EXPOSE 1-60000",
        "EXPOSE 80/icmp",
        "EXPOSE x",
        "USER a b",
        "STOPSIGNAL a;b",
        'VOLUME [""]',
        "SHELL bash",
        "ONBUILD FROM x",
        "ONBUILD ONBUILD RUN x",
        "HEALTHCHECK curl",
        "HEALTHCHECK CMD",
        "HEALTHCHECK NONE of it",
        "HEALTHCHECK --interval=5 CMD x",
        "HEALTHCHECK --retries=0 CMD x",
        "HEALTHCHECK --other=5s CMD x",
        "CMD " + "x" * 70_000,
        "CMD a\0b",
    ],
)
def test_what_is_refused(line: str) -> None:
    with pytest.raises(InvalidArgument):
        apply(line)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(changes.INSTRUCTIONS)), st.text(max_size=60))
def test_whatever_is_said_the_answer_is_a_configuration_or_words(name: str, text: str) -> None:
    try:
        apply(f"{name} {text}")
    except InvalidArgument:
        pass


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(blacklist_characters="'\"\\$\0"), max_size=30))
def test_single_quotes_keep_all(text: str) -> None:
    assert changes.expand(f"'{text}'", {}) == text
