"""archive, export, changes, commit, stats, update: what goes over the wire."""

from __future__ import annotations

import base64
import json

import pytest
from tests.api.conftest import Client

from gorae.engine.container import model
from gorae.engine.image.model import ImageConfig


async def test_what_a_path_is(api: Client) -> None:
    await api.create()
    answer = await api.call("HEAD", "/containers/one/archive?path=/etc")
    assert (answer.status, answer.body) == (200, b"")
    assert json.loads(base64.b64decode(answer.headers["x-docker-container-path-stat"])) == {
        "name": "etc", "size": 4096, "mode": 1 << 31 | 0o755, "mtime": "2017-07-14T02:40:00.000000001Z", "linkTarget": "",
    }  # fmt: skip
    assert (await api.call("HEAD", "/containers/one/archive?path=/no")).status == 404
    assert (await api.call("HEAD", "/containers/one/archive")).status == 400
    assert (await api.call("HEAD", "/containers/nobody/archive?path=/etc")).status == 404


async def test_archives_go_both_ways(api: Client) -> None:
    await api.create()
    answer = await api.call("GET", "/containers/one/archive?path=/etc")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"half an archive", "application/x-tar")
    assert "x-docker-container-path-stat" in answer.headers
    path = "/containers/one/archive?path=/x&noOverwriteDirNonDir=true&copyUIDGID=1"
    assert (await api.call("PUT", path, b"tar" * 100_000, Content_Type="application/x-tar")).status == 200
    assert api.engine.containers.archives.received == [("/x", b"tar" * 100_000, True, True)]
    assert (await api.call("PUT", "/containers/one/archive?path=/ro", b"tar")).status == 403
    assert (await api.call("PUT", "/containers/one/archive?path=/x", b"nonsense")).status == 400
    assert (await api.call("GET", "/containers/one/export")).body == b"half an archive"


async def test_changes(api: Client) -> None:
    await api.create()
    assert (await api.call("GET", "/containers/one/changes")).json == [
        {"Path": "/etc", "Kind": 0}, {"Path": "/etc/new", "Kind": 1}, {"Path": "/gone", "Kind": 2}
    ]  # fmt: skip


async def test_commit(api: Client) -> None:
    await api.create()
    query = "container=one&repo=mine&tag=1&comment=why&author=me&pause=0&changes=ENV%20A%3D1%0ACMD%20x"
    answer = await api.call("POST", f"/commit?{query}", {"Env": ["B=2"], "Cmd": ["y"]})
    assert (answer.status, answer.json) == (201, {"Id": f"sha256:{'c' * 64}"})
    assert api.engine.containers.commits.calls == [
        {
            "overrides": ImageConfig(env=("B=2",), cmd=("y",)), "repository": "mine", "tag": "1", "comment": "why", "author": "me",
            "changes": ["ENV A=1", "CMD x"], "pause": False,
        }
    ]  # fmt: skip
    assert (await api.call("POST", "/commit?container=one")).status == 201
    assert (await api.call("POST", "/commit")).status == 400


async def test_stats(api: Client) -> None:
    identity = await api.create()
    stopped = (await api.call("GET", "/containers/one/stats?stream=0")).json
    assert (stopped["id"], stopped["name"], stopped["memory_stats"]) == (identity, "/one", {})
    api.engine.containers._set(api.engine.containers.find("one"), status="running")
    once = (await api.call("GET", "/containers/one/stats?stream=false")).json
    assert once["cpu_stats"]["cpu_usage"] == {
        "total_usage": 10, "percpu_usage": [3, 7], "usage_in_kernelmode": 4, "usage_in_usermode": 6
    }  # fmt: skip
    assert (once["cpu_stats"]["system_cpu_usage"], once["cpu_stats"]["online_cpus"]) == (1000, 2)
    assert once["precpu_stats"]["cpu_usage"]["total_usage"] == 10
    assert once["memory_stats"] == {"usage": 100, "max_usage": 200, "stats": {"total_inactive_file": 5}, "limit": 1 << 30}
    assert once["pids_stats"] == {"current": 3, "limit": 50}
    assert once["blkio_stats"]["io_service_bytes_recursive"] == [{"major": 8, "minor": 0, "op": "read", "value": 4096}]
    assert once["networks"] == {"eth0": {"rx_bytes": 1}}
    stream = (await api.call("GET", "/containers/one/stats")).body.splitlines()
    assert [json.loads(line)["precpu_stats"]["cpu_usage"]["total_usage"] for line in stream] == [0, 10, 10]


async def test_update(api: Client) -> None:
    await api.create()
    body = {"Memory": 1 << 30, "PidsLimit": 0, "RestartPolicy": {"Name": "always"}, "Ulimits": [{"Name": "nofile"}]}
    answer = await api.call("POST", "/containers/one/update", body)
    assert answer.json == {"Warnings": ["a warning", "Ulimits cannot be updated and has no effect"]}
    await api.call("POST", "/containers/one/update", {"CpuShares": 5})
    assert [(limits.memory, limits.pids_limit, policy) for limits, policy in api.engine.containers.updates] == [
        (1 << 30, 0, model.RestartPolicy(name="always")), (0, None, None)
    ]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "", 200), ("POST", "", 501), ("DELETE", "/x", 404)])
async def test_checkpoints(api: Client, method: str, path: str, status: int) -> None:
    await api.create()
    assert (await api.call(method, f"/containers/one/checkpoints{path}")).status == status
    assert (await api.call(method, f"/containers/nobody/checkpoints{path}")).status == 404
