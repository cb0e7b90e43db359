"""Flags of `run` become the engine's JSON; what a flag does not say is left out."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from gorae.cli import container_config, main
from gorae.cli.container_options import container_options
from gorae.cli.run import ContainerCommand, exit_status
from gorae.errors import InvalidArgument


def parse(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    @click.command(cls=ContainerCommand)
    @click.option("--explain", is_flag=True)
    @click.option("--explain-as")
    @container_options
    @click.argument("image")
    @click.argument("command", nargs=-1, type=click.UNPROCESSED)
    def command(**options: Any) -> None:
        found.update(options)

    result = CliRunner().invoke(command, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return found


def body(*words: str) -> dict[str, Any]:
    options = parse(*words)
    return container_config.body(options, options["image"], options["command"])


def test_nothing_said_is_nothing_sent() -> None:
    sent = body("host", "true")
    assert (sent["Image"], sent["Cmd"]) == ("host", ["true"])
    assert sent["HostConfig"] == {}
    assert "Entrypoint" not in sent


def test_flags_end_at_the_image() -> None:
    options = parse("-i", "host", "ls", "-l", "--explain=json", "--rm", "--", "x")
    assert options["command"] == ("ls", "-l", "--explain=json", "--rm", "--", "x")
    assert not options["explain_as"]


def test_explain_takes_none_of_the_words_behind_it() -> None:
    assert parse("--explain", "host", "cat")["command"] == ("cat",)
    options = parse("--explain=json", "host", "echo", "--explain=json")
    assert (options["explain_as"], options["command"]) == ("json", ("echo", "--explain=json"))


def test_the_issue_s_flags() -> None:
    sent = body(
        "-it",
        "--name",
        "n",
        "--entrypoint",
        "/e",
        "-e",
        "A=b",
        "-w",
        "/w",
        "-u",
        "1:2",
        "-v",
        "/a:/b:ro",
        "-v",
        "/anon",
        "--mount",
        "type=tmpfs,target=/t",
        "--tmpfs",
        "/t2:size=1m",
        "--read-only",
        "--cap-add",
        "NET_ADMIN",
        "--cap-drop",
        "ALL",
        "--privileged",
        "--security-opt",
        "no-new-privileges",
        "-m",
        "64m",
        "--cpus",
        "1.5",
        "--pids-limit",
        "50",
        "--hostname",
        "h",
        "--network",
        "none",
        "--init",
        "--stop-signal",
        "SIGINT",
        "--stop-timeout",
        "3",
        "--label",
        "k=v",
        "host",
        "sh",
    )
    host = sent["HostConfig"]
    assert sent["Tty"]
    assert sent["OpenStdin"]
    assert (sent["Entrypoint"], sent["Env"], sent["WorkingDir"], sent["User"]) == (["/e"], ["A=b"], "/w", "1:2")
    assert (sent["Hostname"], sent["StopSignal"], sent["StopTimeout"], sent["Labels"]) == ("h", "SIGINT", 3, {"k": "v"})
    assert sent["Volumes"] == {"/anon": {}}
    assert (host["Binds"], host["Tmpfs"]) == (["/a:/b:ro"], {"/t2": "size=1m"})
    assert host["Mounts"] == [{"Type": "tmpfs", "Target": "/t"}]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64 << 20, 1_500_000_000, 50)
    assert (host["CapAdd"], host["CapDrop"], host["NetworkMode"], host["Init"]) == (["NET_ADMIN"], ["ALL"], "none", True)
    assert host["ReadonlyRootfs"]
    assert host["Privileged"]


def test_streams() -> None:
    options = parse("-i", "host")
    assert container_config.streams(options, False) == {"stdin", "stdout", "stderr"}
    assert container_config.streams(options, True) == set()
    assert container_config.streams(parse("-a", "stdout", "host"), False) == {"stdout"}
    with pytest.raises(InvalidArgument, match="conflicting"):
        container_config.streams(parse("-a", "stdout", "host"), True)
    with pytest.raises(InvalidArgument, match="invalid stream"):
        container_config.streams(parse("-a", "stdfoo", "host"), False)


@pytest.mark.parametrize(
    ("policy", "sent"),
    [("always", {"Name": "always", "MaximumRetryCount": 0}), ("on-failure:3", {"Name": "on-failure", "MaximumRetryCount": 3})],
)
def test_restart_policies(policy: str, sent: dict[str, Any]) -> None:
    assert container_config.restart_policy(policy) == sent


def test_wrong_restart_policies() -> None:
    for word in ("always:3", "on-failure:x"):
        with pytest.raises(InvalidArgument, match="restart policy"):
            container_config.restart_policy(word)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ('exec: "x": executable file not found in $PATH', 127),
        ('exec: "/x": permission denied', 126),
        ('exec: "/": is a directory', 126),
        ("other", 125),
    ],
)
def test_exit_statuses_of_a_failed_start(message: str, status: int) -> None:
    assert exit_status(message) == status


@pytest.mark.parametrize(
    ("words", "status"),
    [(["run"], 125), (["run", "--nonsense", "host"], 125), (["nonsense"], 2), (["ps", "--nonsense"], 2), (["--version"], 0)],
)
def test_wrong_usage_has_dockers_exit_status(words: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main.main(words)
    assert stopped.value.code == status


@pytest.mark.parametrize("name", [name for name in main.COMMANDS if name != "daemon"])
def test_each_command_has_help(name: str) -> None:
    result = CliRunner().invoke(main.gorae, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"Usage: gorae {name}" in result.output
