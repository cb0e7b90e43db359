"""Containers, networks, volumes, system: what goes to the engine and what comes back."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from tests.api.conftest import Client, eventually

from gorae.api.adapt import create as wish
from gorae.wire import codec
from gorae.wire.config import Config, CreateRequest
from gorae.wire.hostconfig import HostConfig
from gorae.wire.versions import NEWEST, Version


async def test_create_answers(api: Client) -> None:
    answer = await api.call("POST", "/v1.41/containers/create?name=one", {"Image": "busybox", "Cmd": "true", "HostConfig": None})
    assert answer.status == 201
    assert answer.json == {"Id": api.engine.containers.rows["one"].id, "Warnings": []}
    assert api.engine.containers.rows["one"].config.command == ("true",)
    assert (await api.call("POST", "/containers/create?name=one", {"Image": "busybox"})).status == 409
    assert (await api.call("POST", "/containers/create?name=a", {"Image": "busybox"})).status == 400
    missing = await api.call("POST", "/containers/create", {"Image": "missing"})
    assert (missing.status, missing.message) == (404, "No such image: missing:latest")


async def test_unheeded_fields_are_warned_about(api: Client) -> None:
    body = {
        "Image": "a",
        "MacAddress": "02:42:ac:11:00:02",
        "OnBuild": ["RUN x"],
        "HostConfig": {
            "CpuCount": 2,
            "Isolation": "hyperv",
            "KernelMemory": 5,
            "PortBindings": {"80/tcp": [{"HostPort": "80"}]},
            "Mounts": [{"Type": "image", "Target": "/x", "ImageOptions": {"Subpath": "a"}}],
            "IOMaximumIOps": 1,
        },
    }
    warnings = (await api.call("POST", "/containers/create", body)).json["Warnings"]
    assert "engine's own" in warnings
    told = " ".join(warnings)
    for name in ("OnBuild", "CpuCount", "Isolation", "KernelMemory", "Mounts[0].ImageOptions", "IOMaximumIOps"):
        assert f"{name} " in told


async def test_defaults_of_the_stock_client_are_not_warned_about(api: Client) -> None:
    """The body that `docker run` of CLI 28 sends with no option at all."""
    body = {
        "Hostname": "",
        "Domainname": "",
        "User": "",
        "AttachStdin": False,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": None,
        "Cmd": ["true"],
        "Image": "busybox",
        "Volumes": {},
        "WorkingDir": "",
        "Entrypoint": None,
        "OnBuild": None,
        "Labels": {},
        "HostConfig": {
            "Binds": None,
            "ContainerIDFile": "",
            "LogConfig": {"Type": "", "Config": {}},
            "NetworkMode": "default",
            "PortBindings": {},
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            "AutoRemove": False,
            "VolumeDriver": "",
            "VolumesFrom": None,
            "ConsoleSize": [24, 80],
            "CapAdd": None,
            "CapDrop": None,
            "CgroupnsMode": "",
            "Dns": [],
            "DnsOptions": [],
            "DnsSearch": [],
            "ExtraHosts": None,
            "GroupAdd": None,
            "IpcMode": "",
            "Cgroup": "",
            "Links": None,
            "OomScoreAdj": 0,
            "PidMode": "",
            "Privileged": False,
            "PublishAllPorts": False,
            "ReadonlyRootfs": False,
            "SecurityOpt": None,
            "UTSMode": "",
            "UsernsMode": "",
            "ShmSize": 0,
            "Isolation": "",
            "CpuShares": 0,
            "Memory": 0,
            "NanoCpus": 0,
            "CgroupParent": "",
            "BlkioWeight": 0,
            "BlkioWeightDevice": [],
            "BlkioDeviceReadBps": [],
            "BlkioDeviceWriteBps": [],
            "BlkioDeviceReadIOps": [],
            "BlkioDeviceWriteIOps": [],
            "CpuPeriod": 0,
            "CpuQuota": 0,
            "CpuRealtimePeriod": 0,
            "CpuRealtimeRuntime": 0,
            "CpusetCpus": "",
            "CpusetMems": "",
            "Devices": [],
            "DeviceCgroupRules": None,
            "DeviceRequests": None,
            "MemoryReservation": 0,
            "MemorySwap": 0,
            "MemorySwappiness": -1,
            "OomKillDisable": False,
            "PidsLimit": 0,
            "Ulimits": [],
            "CpuCount": 0,
            "CpuPercent": 0,
            "IOMaximumIOps": 0,
            "IOMaximumBandwidth": 0,
            "MaskedPaths": None,
            "ReadonlyPaths": None,
        },
        "NetworkingConfig": {"EndpointsConfig": {"default": None}},
    }
    assert (await api.call("POST", "/v1.50/containers/create", body)).json["Warnings"] == []
    assert api.engine.containers.rows["container-0"].config.resources.memory_swappiness is None


SAMPLES: dict[str, Any] = {
    "bool": True,
    "int": 7,
    "str": "text",
    "list[str]": ["a"],
    "dict[str, str]": {"a": "b"},
    "dict[str, Empty]": {"80/tcp": {}},
    "list[int]": [24, 80],
    "HealthConfig": {"Test": ["CMD", "x"]},
    "LogConfig": {"Type": "none"},
    "RestartPolicy": {"Name": "always"},
    "list[Mount]": [{"Type": "bind", "Source": "/a", "Target": "/b"}],
    "list[Ulimit]": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
    "list[DeviceMapping]": [{"PathOnHost": "/dev/null"}],
    "list[DeviceRequest]": [{"Driver": "x"}],
    "list[WeightDevice]": [{"Path": "/dev/sda", "Weight": 5}],
    "list[ThrottleDevice]": [{"Path": "/dev/sda", "Rate": 5}],
    "PortMap": {"80/tcp": [{"HostPort": "80"}]},
}


def _sample(hint: Any) -> Any:
    from gorae.wire import config, hostconfig

    if hint == hostconfig.PortMap or hint == hostconfig.PortMap | None:
        return SAMPLES["PortMap"]
    text = str(hint).replace("<class '", "").replace("'>", "").replace("typing.Annotated[", "")
    for module in (config, hostconfig, codec):
        text = text.replace(f"{module.__name__}.", "")
    text = text.partition(" | None")[0].partition("]], ")[0]
    return SAMPLES[text.strip()]


@pytest.mark.parametrize(("shape", "inside"), [(Config, False), (HostConfig, True)])
def test_no_field_vanishes_in_silence(shape: type[codec.Shape], inside: bool) -> None:
    """Each field of Docker's, set to something: the engine's wish changes, or there is a warning."""
    import msgspec

    plain = wish.container_config(CreateRequest(), NEWEST)
    for field in msgspec.structs.fields(shape):
        if field.name == "container_id_file":
            continue
        document = {field.encode_name: _sample(field.type)}
        request = codec.convert(CreateRequest, {"HostConfig": document} if inside else document)
        changed = wish.container_config(request, NEWEST) != plain
        warned = any(f"{field.encode_name} is not supported" in warning for warning in wish.unheeded(request))
        assert changed != warned, field.encode_name


def test_read_only_binds_before_1_44_are_flat() -> None:
    mount = {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True}
    request = codec.convert(CreateRequest, {"HostConfig": {"Mounts": [mount]}})
    assert wish.container_config(request, Version(1, 43)).mounts[0].read_only_non_recursive
    assert not wish.container_config(request, Version(1, 44)).mounts[0].read_only_non_recursive


async def test_inspect_gives_the_wish_back(api: Client) -> None:
    host = {
        "Memory": 1 << 30,
        "PidsLimit": 5,
        "Binds": ["/a:/b"],
        "CapAdd": ["NET_ADMIN"],
        "NetworkMode": "none",
        "Init": True,
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "1"}]},
        "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 5, "Mode": 448}}],
        "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
        "Tmpfs": {"/run": ""},
        "Sysctls": {"net.x": "1"},
    }
    await api.create(Cmd=["echo", "hi"], Labels={"a": "b"}, ExposedPorts={"80/tcp": {}}, Tty=True, HostConfig=host)
    answer = (await api.call("GET", "/containers/one/json?size=1")).json
    assert answer["Name"] == "/one"
    assert answer["Created"] == "2023-11-14T22:13:20.123456789Z"
    assert answer["State"]["Status"] == "created"
    assert answer["State"]["StartedAt"] == "0001-01-01T00:00:00Z"
    assert (answer["Path"], answer["Args"]) == ("echo", ["hi"])
    assert (answer["SizeRw"], answer["SizeRootFs"]) == (1, 2)
    assert answer["Config"]["Tty"] is True
    assert answer["Config"]["ExposedPorts"] == {"80/tcp": {}}
    for name, value in host.items():
        if name != "Mounts":
            assert answer["HostConfig"][name] == value, name
    assert answer["HostConfig"]["Mounts"][0]["TmpfsOptions"]["SizeBytes"] == 5
    assert answer["HostConfig"]["ShmSize"] == 64 << 20
    assert list(answer["NetworkSettings"]["Networks"]) == ["none"]
    assert "IPAddress" not in answer["NetworkSettings"]
    assert answer["Storage"]["RootFS"]["Snapshot"]["Name"] == "overlay"
    old = (await api.call("GET", "/v1.40/containers/one/json")).json
    assert old["NetworkSettings"]["IPAddress"] == ""
    assert old["GraphDriver"]["Name"] == "overlay"
    assert "SizeRw" not in old


async def test_list(api: Client) -> None:
    await api.create(Cmd=["sh", "-c", "sleep 1"], Labels={"a": "b"}, ExposedPorts={"80/tcp": {}})
    assert (await api.call("GET", "/containers/json")).json == []
    filters = quote(json.dumps({"status": {"created": True}, "label": ["a=b"]}))
    rows = (await api.call("GET", f"/v1.40/containers/json?all=true&limit=3&size=1&filters={filters}")).json
    assert api.engine.containers.calls[-1] == ("list", (True, 3, True, {"status": ("created",), "label": ("a=b",)}))
    assert rows[0]["Names"] == ["/one"]
    assert rows[0]["Command"] == "sh -c 'sleep 1'"
    assert rows[0]["Status"] == "Created"
    assert rows[0]["Ports"] == []
    assert "Health" not in rows[0]
    assert (await api.call("GET", "/containers/json?limit=x")).status == 400


async def test_actions(api: Client) -> None:
    identity = await api.create()
    calls = api.engine.containers.calls
    assert (await api.call("POST", f"/containers/{identity[:12]}/start", X_Gorae_Explain="1")).status == 204
    assert calls[-1] == ("start", True)
    api.engine.containers._set(api.engine.containers.rows["one"], status="running")
    assert (await api.call("POST", "/containers/one/start")).status == 304
    assert (await api.call("POST", "/containers/one/start", {"Binds": ["/a:/b"]})).status == 400
    assert (await api.call("POST", "/containers/one/stop?t=5&signal=TERM")).status == 204
    assert calls[-1] == ("stop", (5, "TERM"))
    assert (await api.call("POST", "/containers/one/stop?t=-1")).status == 204
    assert (await api.call("POST", "/containers/one/stop?t=-2")).status == 400
    assert (await api.call("POST", "/containers/one/restart?t=0")).status == 204
    assert (await api.call("POST", "/containers/one/kill?signal=HUP")).status == 204
    assert calls[-1] == ("kill", "HUP")
    assert (await api.call("POST", "/containers/one/pause")).status == 204
    assert (await api.call("POST", "/containers/one/unpause")).status == 204
    assert (await api.call("POST", "/containers/one/rename")).status == 400
    assert (await api.call("POST", "/containers/one/rename?name=two")).status == 204
    resized = await api.call("POST", "/containers/one/resize?h=24&w=80")
    assert (resized.status, resized.body) == (200, b"")
    assert calls[-1] == ("resize", (24, 80))
    assert (await api.call("DELETE", "/containers/one")).status == 409
    assert (await api.call("DELETE", "/containers/one?force=1&v=1")).status == 204
    gone = await api.call("DELETE", "/containers/one")
    assert (gone.status, gone.message) == (404, "No such container: one")
    for action in ("start", "stop", "kill", "pause", "wait", "resize?h=1&w=1", "rename?name=xx", "attach"):
        assert (await api.call("POST", f"/containers/one/{action}")).status == 404, action
    assert (await api.call("POST", "/containers/prune")).json == {"ContainersDeleted": ["a" * 64], "SpaceReclaimed": 5}


async def test_stop_of_what_is_stopped_has_no_body(api: Client) -> None:
    await api.create()
    answer = await api.call("POST", "/containers/one/stop")
    assert (answer.status, answer.body) == (304, b"")


async def test_wait_sends_its_headers_at_once(api: Client) -> None:
    await api.create()
    reader, writer = await api.open()
    writer.write(api.head("POST", "/containers/one/wait?condition=next-exit", {}))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert b" 200 " in head
    assert not api.engine.containers.ended["one"].is_set()
    await api.call("POST", "/containers/one/start")
    await reader.readline()
    assert json.loads(await asyncio.wait_for(reader.readline(), 10)) == {"StatusCode": 3}
    writer.close()
    await eventually(lambda: api.engine.containers.waits[0].closed, "the wait is closed")


async def test_wait_ends_when_the_client_goes(api: Client) -> None:
    await api.create()
    reader, writer = await api.open()
    writer.write(api.head("POST", "/containers/one/wait", {}))
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await eventually(lambda: api.engine.containers.waits[0].closed, "the wait is closed")


async def test_wait_conditions(api: Client) -> None:
    await api.create()
    answer = await api.call("POST", "/containers/one/wait?condition=sometime")
    assert (answer.status, answer.message) == (400, 'invalid condition: "sometime"')


async def test_events(api: Client) -> None:
    for prefix, origin in (("/v1.51", "image"), ("/v1.52", None)):
        reader, writer = await api.open()
        filters = quote(json.dumps({"type": {"container": True}}))
        writer.write(api.head("GET", f"{prefix}/events?filters={filters}", {"Accept": "application/jsonl"}))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert b"application/jsonl" in head
        await eventually(lambda: api.engine.events.listeners == 1, "subscribed")
        api.engine.events.publish("image", "tag", "x", {})
        api.engine.events.publish("container", "start", "abc", {"image": "image", "name": "one"}, time=1_700_000_000_000_000_001)
        await reader.readline()
        event = json.loads(await asyncio.wait_for(reader.readline(), 10))
        assert event["Type"] == "container"
        assert event["Action"] == "start"
        assert event["Actor"] == {"ID": "abc", "Attributes": {"image": "image", "name": "one"}}
        assert (event["time"], event["timeNano"]) == (1_700_000_000, 1_700_000_000_000_000_001)
        assert event.get("from") == origin
        assert event.get("status") == ("start" if origin else None)
        writer.close()
        await eventually(lambda: api.engine.events.listeners == 0, "the subscription ends with its client")
    assert (await api.call("GET", "/events?since=5&until=4")).status == 400
    assert (await api.call("GET", f"/events?filters={quote(json.dumps({'x': ['y']}))}")).status == 400
    past = await api.call("GET", "/events?since=1600000000&until=1700000001")
    assert len(past.body.splitlines()) == 2


async def test_system(api: Client) -> None:
    version = (await api.call("GET", "/version")).json
    assert (version["ApiVersion"], version["MinAPIVersion"]) == ("1.56", "1.24")
    assert version["Components"][0]["Name"] == "Engine"
    info = (await api.call("GET", "/info")).json
    assert info["ServerVersion"] == "word"
    assert info["Swarm"]["LocalNodeState"] == "inactive"
    assert "BridgeNfIptables" not in info
    assert (await api.call("GET", "/v1.40/info")).json["BridgeNfIptables"] is False
    old = (await api.call("GET", "/v1.51/system/df")).json
    assert old["LayersSize"] == 1235
    assert [image["Id"][:9] for image in old["Images"]] == ["sha256:aa", "sha256:cc"]
    new = (await api.call("GET", "/system/df?type=image&verbose=1")).json
    assert list(new) == ["ImageUsage"]
    assert new["ImageUsage"]["TotalCount"] == 2
    assert (await api.call("GET", "/system/df?type=x")).status == 400


async def test_networks_and_volumes(api: Client) -> None:
    assert [network["Name"] for network in (await api.call("GET", "/networks")).json] == ["bridge", "host", "none"]
    one = (await api.call("GET", "/networks/host")).json
    assert (one["Driver"], one["Containers"]) == ("host", {})
    assert (await api.call("GET", "/networks/nowhere")).status == 404
    filters = quote(json.dumps({"name": {"host": True}}))
    assert len((await api.call("GET", f"/networks?filters={filters}")).json) == 1
    assert (await api.call("GET", "/volumes")).json == {"Volumes": [], "Warnings": None}
    assert (await api.call("GET", "/volumes/x")).status == 404
    for kind in ("networks", "volumes", "build"):
        assert (await api.call("POST", f"/{kind}/prune")).status == 200


async def test_top_and_birth(api: Client) -> None:
    await api.create()
    top = (await api.call("GET", "/containers/one/top")).json
    assert top["Titles"][-1] == "CMD"
    assert "python" in top["Processes"][0][-1]
    assert (await api.call("GET", "/containers/one/top?ps_args=aux")).status == 501
    birth = (await api.call("GET", "/gorae/containers/one/birth")).json
    assert birth["Nanoseconds"] == 5000
    assert birth["Steps"][0] == {
        "Phase": "before",
        "Call": "mkdir",
        "What": "/sys/fs/cgroup/x a=1 2",
        "Why": "to count",
        "Nanoseconds": 1000,
    }
    order = [("before", "mkdir"), ("clone", "clone3"), ("beside", "write"), ("child", "mount"), ("child", "execve")]
    assert [(step["Phase"], step["Call"]) for step in birth["Steps"]] == order
