"""Requests made from the Docker Engine API's own description by schemathesis, against a daemon, for whatever is implemented.

    operation ─ strategy ─▶ case ─ aim ─▶ request ─▶ daemon ─▶ verdict
                                   │                             no 5xx (501 and 505 excepted) · no traceback · an answer in time
                                   └ in two thirds of the cases at containers, execs and images that exist

A container that no request is aimed at runs beside, and must be as it was at the end. The description lies outside of this project:
GORAE_ENGINE_API names it, or it is `shared/engine-api.yaml` beside the clone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from docker.transport import UnixHTTPAdapter
from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.running import Daemon

from gorae.api.app import ROUTER
from gorae.api.routes import notyet
from gorae.errors import GoraeError

HOST = "http://localhost"
PATIENCE = 5.0  # for the head of an answer
READING = 0.2  # for what comes after it: answers that grow are left then
LARGEST = 1 << 20

# Containers by name, what they run and what they are while requests are aimed at them.
TARGETS = (
    ("runs", "trap exit TERM INT; while :; do read -t 5 x; done", "running"),
    ("stopped", "exit 3", "exited"),
    ("made", "exit 0", "created"),
)

# Their answers grow, and each costs the time that it is read for.
GROWING = {"SystemEvents", "ContainerWait", "ContainerStats", "ContainerLogs"}

# What may rightly say nothing for longer: it waits for a program that need not end.
WAITING = {"ContainerStop", "ContainerRestart", "ContainerWait", "ContainerAttach", "ContainerAttachWebsocket", "ExecStart"}

SETTINGS = settings(database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))

# They end what the others are aimed at; their turn comes last, with fewer cases.
LAST = {"ContainerDelete", "ContainerPrune", "ImageDelete", "ImagePrune"}


def description() -> Path | None:
    beside = Path(__file__).resolve().parents[3] / "shared" / "engine-api.yaml"
    chosen = Path(os.environ.get("GORAE_ENGINE_API", beside))
    return chosen if chosen.is_file() else None


class Campaign:
    """`run(n)` sends about n requests; `problems` and `statuses` tell what came back."""

    def __init__(self, daemon: Daemon, path: Path, number: int) -> None:
        import schemathesis

        logging.getLogger("urllib3").setLevel(logging.CRITICAL)
        self._daemon = daemon
        self._random = random.Random(number)
        self._number = number
        self.problems: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.silent: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.sent = 0
        self._session = requests.Session()
        self._session.mount("http://", UnixHTTPAdapter(f"http+unix://{daemon.socket}", pool_connections=1, timeout=PATIENCE))
        self._session.trust_env = False
        schemathesis.serializer("application/x-tar", "application/octet-stream")(_archive)
        schema = schemathesis.openapi.from_path(path)
        self._operations = [found.ok() for found in schema.get_all_operations()]
        self._operations = [one for one in self._operations if self._implemented(one)]

    @staticmethod
    def _implemented(operation: Any) -> bool:
        found = ROUTER.find(operation.method.upper(), operation.path.replace("{", "").replace("}", ""))
        return found is not None and found[0] not in notyet.ROUTES

    def run(self, cases: int, seconds: float) -> None:
        """Stops early, between two operations, when the time is over."""
        deadline = time.monotonic() + seconds
        self._keep()
        while self.sent < cases and time.monotonic() < deadline:
            share = max(4, (cases - self.sent) // len(self._operations))
            for operation in sorted(self._operations, key=lambda one: _name(one) in LAST):
                if time.monotonic() > deadline or self.sent >= cases:
                    break
                self._aim_at_something()
                begun = time.monotonic()
                self._explore(operation, max(4, share // 4) if _name(operation) in GROWING | LAST else share)
                self.seconds[_name(operation)] += time.monotonic() - begun
            self._number += 1
        self._still_there()
        self._session.close()

    # One operation.

    def _explore(self, operation: Any, most: int) -> None:
        from schemathesis import GenerationMode

        for mode, examples in ((GenerationMode.POSITIVE, most - most // 3), (GenerationMode.NEGATIVE, most // 3)):
            if not examples:
                continue

            @seed(self._number)
            @settings(SETTINGS, max_examples=examples)
            @given(case=operation.as_strategy(generation_mode=mode))
            def explore(case: Any) -> None:
                self._send(operation, case)

            # An operation of which no wrong request can be made has no such strategy.
            with contextlib.suppress(BaseException if mode is GenerationMode.NEGATIVE else ()):  # type: ignore[arg-type]
                explore()

    def _send(self, operation: Any, case: Any) -> None:
        name = _name(operation)
        self._aim(operation, case)
        given = case.as_transport_kwargs(base_url=f"{HOST}/v1.{self._random.choice((24, 30, 41, 47, 56))}")
        given["headers"] = {key: value for key, value in dict(given["headers"]).items() if "schemathesis" not in str(value).lower()}
        where = f"{given['method']} {given['url']} {given.get('params')} {str(given.get('json', given.get('data')))[:1000]}"
        try:
            prepared = self._session.prepare_request(requests.Request(**given))
        except (requests.RequestException, UnicodeError, ValueError, TypeError):
            return  # the client itself refuses to send that
        self.sent += 1
        try:
            answer = self._session.send(prepared, stream=True, timeout=(PATIENCE, PATIENCE), allow_redirects=False)
        except requests.Timeout:
            self.silent[name] += 1
            if name not in WAITING:
                self.problems.append(f"no answer within {PATIENCE} s: {where}")
            return
        except requests.ConnectionError as error:
            if "timed out" in str(error).lower() and name in WAITING:
                self.silent[name] += 1
            else:
                self.problems.append(f"{error}: {where}")
            return
        self._judge(answer, name, where)

    def _judge(self, answer: requests.Response, name: str, where: str) -> None:
        self.statuses[answer.status_code] += 1
        hijacked = answer.status_code == 101 or "raw-stream" in answer.headers.get("Content-Type", "")
        body = b"" if hijacked else _read(answer)
        answer.close()
        if answer.status_code >= 500 and answer.status_code not in (501, 505):
            self.problems.append(f"{answer.status_code} {body[:300]!r}: {where}")
        if b"Traceback" in body or b'File "' in body:
            self.problems.append(f"a traceback: {body[:300]!r}: {where}")
        if answer.status_code >= 400 and answer.request.method != "HEAD":
            try:
                assert isinstance(json.loads(body)["message"], str)
            except (ValueError, KeyError, TypeError, AssertionError):
                self.problems.append(f"{answer.status_code} without a message: {body[:300]!r}: {where}")
        if name == "ContainerCreate" and answer.status_code == 201:
            self._created(json.loads(body)["Id"])

    def _created(self, identity: str) -> None:
        """What was wished at random is started now and then, and goes at once."""
        if self._random.random() < 0.3:
            self._quietly("POST", f"/containers/{identity}/start")
        self._quietly("DELETE", f"/containers/{identity}?force=1&v=1")

    def _quietly(self, method: str, path: str) -> None:
        try:
            answer = self._session.request(method, HOST + path, timeout=(PATIENCE, 4 * PATIENCE))
        except requests.RequestException as error:
            self.problems.append(f"{method} {path}: {error}")
            return
        # A container that was wished at random may rightly fail to be born (500, as with dockerd), but not to be removed.
        unexpected = b"unexpected error" in answer.content
        if unexpected or (method == "DELETE" and answer.status_code >= 500):
            self.problems.append(f"{method} {path}: {answer.status_code} {answer.content[:300]!r}")

    # What requests are aimed at.

    def _aim(self, operation: Any, case: Any) -> None:
        parameters = case.path_parameters
        chance = self._random.random()
        if parameters and chance < 0.66:
            for key in parameters:
                parameters[key] = self._random.choice(self._targets(operation.path))
        if _name(operation) == "ContainerCreate" and isinstance(case.body, dict) and chance < 0.8:
            case.body["Image"] = "host"

    def _targets(self, path: str) -> list[str]:
        if path.startswith("/exec"):
            return self._execs
        if path.startswith("/images"):
            return ["host", "host:latest", "nothing"]
        if path.startswith("/networks"):
            return ["host", "none", "bridge", "nothing"]
        return ["runs", "stopped", "made", "fuzzed"]

    def _aim_at_something(self) -> None:
        """Whatever the last operation has ended or removed is made again."""
        engine = self._daemon.engine
        wished = {"Image": "host", "HostConfig": {"NetworkMode": "none"}, "OpenStdin": True}
        for name, command, status in TARGETS:
            try:
                if engine.inspect(name)["State"]["Status"] == status:
                    continue
                engine.remove(name, force=True)
            except GoraeError:
                pass
            engine.create({**wished, "Cmd": ["bash", "-c", command]}, name=name)
            if name != "made":
                engine.start(name)
        self._execs = [engine.exec_create("runs", {"Cmd": ["true"], "AttachStdout": True}) for _ in range(2)] + ["nothing"]

    # What nobody aims at.

    def _keep(self) -> None:
        engine = self._daemon.engine
        engine.create({"Image": "host", "Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": "none"}}, name="kept-beside")
        engine.start("kept-beside")
        self._kept = engine.inspect("kept-beside")

    def _still_there(self) -> None:
        engine = self._daemon.engine
        engine.close()
        engine.ping(timeout=PATIENCE)
        now = engine.inspect("kept-beside")
        for key in ("Id", "Name", "State", "RestartCount", "Config", "HostConfig"):
            if now[key] != self._kept[key]:
                self.problems.append(f"{key} of the container beside: {self._kept[key]} → {now[key]}")
        assert self._daemon.process is not None
        if self._daemon.process.poll() is not None:
            self.problems.append("the daemon has ended")
        for line in self._daemon.log.read_text(errors="replace").splitlines():
            if "Traceback" in line or "unexpected error" in line:
                self.problems.append(f"in the log: {line}")


def _archive(context: object, value: Any) -> bytes:
    """What stands for an archive: some text or bytes, which is none."""
    data = getattr(value, "data", value)
    return data if isinstance(data, bytes) else str(data).encode(errors="replace")


def _name(operation: Any) -> str:
    return str(operation.definition.raw.get("operationId", operation.label))


def _read(answer: requests.Response) -> bytes:
    """What comes within a moment; the socket is cut under an answer that goes on."""
    timer = threading.Timer(READING if answer.status_code < 400 else PATIENCE, answer.close)
    timer.start()
    data = b""
    try:
        for part in _parts(answer):
            data += part
            if len(data) > LARGEST:
                break
    finally:
        timer.cancel()
    return data


def _parts(answer: requests.Response) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(65536)
    except (requests.RequestException, OSError, ValueError, AttributeError):
        return  # cut: by us, or because the answer could not be completed
