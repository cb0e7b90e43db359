"""The command line as engines write it, and how a wrong one is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gorae.errors import InvalidArgument
from gorae.oci import runtimespec
from gorae.runtime import features
from gorae.runtime.cli import template
from gorae.runtime.cli.arguments import LIMITS, parse
from gorae.runtime.cli.execution import wanted, with_capabilities
from gorae.runtime.cli.main import perform

SHIM = "--root /run/r --log /run/log.json --log-format json"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # containerd's shim
        (f"{SHIM} create --bundle /b --pid-file /b/init.pid --console-socket /tmp/pty.sock c1", {"bundle": "/b", "id": "c1"}),
        (f"{SHIM} create --bundle /b --pid-file /p --no-pivot --no-new-keyring c1", {"no_pivot": True, "no_new_keyring": True}),
        (f"{SHIM} start c1", {"command": "start", "root": "/run/r", "log_format": "json"}),
        (f"{SHIM} exec --process /p --console-socket /s --detach --pid-file /q c1", {"process": "/p", "detach": True, "args": []}),
        (f"{SHIM} kill --all c1 9", {"all": True, "signal": "9"}),
        (f"{SHIM} kill c1 15", {"all": False, "signal": "15"}),
        (f"{SHIM} delete --force c1", {"force": True}),
        (f"{SHIM} update --resources - c1", {"resources": "-"}),
        (f"{SHIM} ps --format json c1", {"format": "json"}),
        (f"{SHIM} events --stats c1", {"stats": True}),
        # podman's conmon, and people
        ("--log=/l --systemd-cgroup create -b /b --preserve-fds 2 c1", {"systemd_cgroup": True, "preserve_fds": 2, "log": "/l"}),
        ("exec -t -u 5:6 -e A=b -e C=d -c CAP_KILL --cwd /w c1 sh", {"user": "5:6", "env": ["A=b", "C=d"], "cap": ["CAP_KILL"]}),
        ("exec c1 ls --all -d", {"args": ["ls", "--all", "-d"], "detach": False}),
        ("kill c1", {"signal": "SIGTERM"}),
        ("run --detach c1", {"bundle": ".", "detach": True}),
        ("--rootless true --debug list -q", {"quiet": True, "debug": True}),
        ("update --memory -1 --cpu-quota 5 --cpuset-cpus 0-1 c1", {"memory": -1, "cpu_quota": 5, "cpuset_cpus": "0-1"}),
    ],
)
def test_lines_that_engines_write(line: str, expected: dict[str, Any]) -> None:
    assert vars(parse(line.split())).items() >= expected.items()


WRONG = ["", "frobnicate", "create", "kill --al c1", "create --bundle", "update --memory much c1", "state a b"]


@pytest.mark.parametrize("line", WRONG)
def test_lines_that_are_refused(line: str) -> None:
    with pytest.raises(InvalidArgument, match=r"gorae-runtime.*--help"):
        parse(line.split())


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_wrong_line_is_told_in_the_log_and_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    log = tmp_path / "log"
    assert perform(["--log", str(log), f"--log-format={form}", "create"], frozenset()) == 1
    message = capsys.readouterr().err.strip()
    assert "CONTAINER" in message
    line = log.read_text()
    if form == "json":
        told = json.loads(line)
        assert (told["level"], told["msg"]) == ("error", message)
        assert told["time"].endswith("Z")
    else:
        assert f"level=error msg={json.dumps(message)}" in line


def test_a_log_that_cannot_be_opened_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert perform(["--log", str(tmp_path / "no/such/log"), "list"], frozenset()) == 1
    assert f"No such file or directory: {tmp_path}/no/such/log" in capfd.readouterr().err


def test_every_limit_of_update_is_a_field_of_the_specification() -> None:
    for option, (group, field) in LIMITS.items():
        value: object = "0-1" if "cpuset" in option else 1
        assert getattr(getattr(runtimespec.decode_resources({group: {field: value}}), group), field) == value


def test_spec_writes_a_config_that_is_read(tmp_path: Path) -> None:
    for rootless in (False, True):
        directory = tmp_path / str(rootless)
        directory.mkdir()
        words = ["spec", "--bundle", str(directory), *(["--rootless"] if rootless else [])]
        assert perform(words, frozenset()) == 0
        spec = runtimespec.decode(json.loads((directory / "config.json").read_text()))
        assert spec.process is not None
        assert spec.process.args == ("sh",)
        assert spec.linux is not None
        assert {each.type for each in spec.linux.namespaces} >= {"mount", "pid", "user" if rootless else "network"}
        assert perform(words, frozenset()) == 1  # it never overwrites
    assert template.template() == template.template()
    assert perform(["spec", "--bundle", str(tmp_path / "none")], frozenset()) == 1


def test_features_have_the_specifications_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert perform(["features"], frozenset()) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == features.features()
    assert told["hooks"] == ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    assert {"ro", "rro", "bind", "rbind", "rprivate", "tmpcopyup", "nosuid"} <= set(told["mountOptions"])
    assert {"mount", "pid", "user"} <= set(told["linux"]["namespaces"])
    assert "SCMP_ACT_ERRNO" in told["linux"]["seccomp"]["actions"]
    assert "SCMP_ACT_NOTIFY" not in told["linux"]["seccomp"]["actions"]


class TestTheProcessOfAnExec:
    OWN = runtimespec.decode(
        {
            "ociVersion": "1.2.0",
            "process": {
                "cwd": "/own",
                "args": ["daemon"],
                "env": ["A=1"],
                "terminal": True,
                "noNewPrivileges": True,
                "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
            },
        }
    )

    def test_it_is_the_containers_own_but_for_the_options(self) -> None:
        process = wanted(parse(["exec", "-e", "B=2", "c1", "--", "sh", "-c", "x"]), self.OWN)
        assert process.args == ("sh", "-c", "x")
        assert process.env == ("A=1", "B=2")
        assert (process.cwd, process.terminal, process.noNewPrivileges) == ("/own", False, True)

    def test_more_capabilities_are_never_inheritable(self) -> None:
        assert self.OWN.process is not None
        found = with_capabilities(self.OWN.process.capabilities, ("CAP_KILL", "CAP_CHOWN"))
        assert found is not None
        assert found.effective == found.permitted == found.bounding == ("CAP_KILL", "CAP_CHOWN")
        assert found.inheritable == found.ambient == ()

    def test_a_program_is_needed(self) -> None:
        with pytest.raises(InvalidArgument, match="name a program"):
            wanted(parse(["exec", "c1"]), self.OWN)
