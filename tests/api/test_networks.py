"""Networks: what goes to the engine and what comes back."""

from __future__ import annotations

import asyncio

from tests.api.conftest import Client
from tests.api.fake_engine import END, Program

from gorae.engine.network.model import Pool


async def test_create_says_everything(api: Client) -> None:
    body = {
        "Name": "web",
        "Driver": "bridge",
        "CheckDuplicate": True,
        "EnableIPv6": True,
        "Internal": True,
        "Attachable": True,
        "Labels": {"a": "b"},
        "Options": {"com.docker.network.driver.mtu": "1400"},
        "IPAM": {
            "Driver": "default",
            "Config": [
                {"Subnet": "10.1.0.0/16", "IPRange": "10.1.2.0/24", "Gateway": "10.1.0.1", "AuxiliaryAddresses": {"x": "10.1.2.3"}},
                {},
            ],
        },
    }
    answer = await api.call("POST", "/networks/create", body)
    assert answer.status == 201
    assert answer.json == {"Id": "4" * 64, "Warning": "one thing"}
    (_, wish), = api.engine.networks.calls
    assert (wish.name, wish.ipv4, wish.ipv6, wish.internal, wish.attachable) == ("web", True, True, True, True)
    assert wish.pools == (Pool(subnet="10.1.0.0/16", range="10.1.2.0/24", gateway="10.1.0.1", auxiliary={"x": "10.1.2.3"}),)
    assert wish.options == {"com.docker.network.driver.mtu": "1400"}
    assert (await api.call("POST", "/networks/create", {"Name": "web"})).status == 409


async def test_an_inspect_tells_who_is_in_it(api: Client) -> None:
    found = (await api.call("GET", "/networks/bridge")).json
    assert found["IPAM"]["Config"] == [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]
    assert found["Containers"][END.container] == {
        "Name": "one",
        "EndpointID": END.id,
        "MacAddress": END.mac,
        "IPv4Address": "172.17.0.2/16",
        "IPv6Address": "",
    }
    assert "Containers" not in (await api.call("GET", "/networks")).json[0]


async def test_connect_and_disconnect(api: Client) -> None:
    settings = {"Aliases": ["db"], "IPAMConfig": {"IPv4Address": "172.17.0.9"}}
    answer = await api.call("POST", "/networks/bridge/connect", {"Container": "one", "EndpointConfig": settings})
    assert answer.status == 200
    _, (network, container, given) = api.engine.networks.calls[-1]
    assert (network, container, given["Aliases"], given["IPAMConfig"]["IPv4Address"]) == ("bridge", "one", ["db"], "172.17.0.9")
    answer = await api.call("POST", "/networks/bridge/disconnect", {"Container": "one", "Force": True})
    assert answer.status == 200
    assert api.engine.networks.calls[-1] == ("disconnect", ("bridge", "one", True))
    assert (await api.call("POST", "/networks/bridge/connect", {})).status == 400
    assert (await api.call("POST", "/networks/nowhere/connect", {"Container": "one"})).status == 404


async def test_remove_and_prune(api: Client) -> None:
    assert (await api.call("DELETE", "/networks/bridge")).status == 403
    assert (await api.call("POST", "/networks/prune")).json == {"NetworksDeleted": None}
    await api.call("POST", "/networks/create", {"Name": "web"})
    assert (await api.call("POST", "/networks/prune")).json == {"NetworksDeleted": ["web"]}
    assert (await api.call("DELETE", "/networks/web")).status == 204
    assert (await api.call("DELETE", "/networks/web")).status == 404


async def test_a_container_tells_its_addresses_while_it_runs(api: Client) -> None:
    over = asyncio.Event()

    async def wait(program: Program) -> int:
        await over.wait()
        return 0

    api.engine.containers.script = wait
    await api.create()
    stopped = (await api.call("GET", "/containers/one/json")).json["NetworkSettings"]
    assert stopped["Ports"] == {}
    assert stopped["Networks"]["bridge"]["IPAddress"] == ""
    assert stopped["Networks"]["bridge"]["Aliases"] == ["web"]
    await api.call("POST", "/containers/one/start")
    running = (await api.call("GET", "/v1.43/containers/one/json")).json["NetworkSettings"]
    assert running["Ports"]["80/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": "8080"}]
    assert running["IPAddress"] == running["Networks"]["bridge"]["IPAddress"] == "172.17.0.2"
    assert running["Networks"]["bridge"]["IPPrefixLen"] == 16
    (row,) = (await api.call("GET", "/containers/json")).json
    over.set()
    assert row["Ports"] == [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}]
