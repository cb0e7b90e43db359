"""Ports and networks as words."""

from __future__ import annotations

from typing import Any

import pytest

from gorae.cli import network, publishing
from gorae.errors import InvalidArgument


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("80", {"80/tcp": [{"HostIp": "", "HostPort": ""}]}),
        ("8080:80", {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}),
        ("127.0.0.1:8080:80/UDP", {"80/udp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}),
        ("127.0.0.1::80", {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}),
        ("[::1]:8080:80/sctp", {"80/sctp": [{"HostIp": "::1", "HostPort": "8080"}]}),
        ("8000-8001:70-71", {"70/tcp": [{"HostIp": "", "HostPort": "8000"}], "71/tcp": [{"HostIp": "", "HostPort": "8001"}]}),
        ("8000-8010:80", {"80/tcp": [{"HostIp": "", "HostPort": "8000-8010"}]}),
        ("70-71", {"70/tcp": [{"HostIp": "", "HostPort": ""}], "71/tcp": [{"HostIp": "", "HostPort": ""}]}),
    ],
)
def test_ports(word: str, expected: dict[str, Any]) -> None:
    assert publishing.published([word]) == expected


@pytest.mark.parametrize(
    "word", ["", "x", "80:", "80:x", "8000-8001:70-72", "8001-8000:80", "70000:80", "::1:80:80", "a.b.c.d:1:2", "80:80:80"]
)
def test_ports_that_are_none(word: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid port"):
        publishing.published([word])


def test_exposed() -> None:
    assert publishing.exposed(["80", "53/udp", "7000-7001"]) == ["80/tcp", "53/udp", "7000/tcp", "7001/tcp"]


def options(**given: Any) -> dict[str, Any]:
    return {"network_alias": (), "link": (), "mac_address": "", "ip": "", "ip6": ""} | given


def test_networks() -> None:
    assert publishing.networks([], options()) == ("", {})
    assert publishing.networks(["web"], options()) == ("web", {})
    assert publishing.networks(["web", "db"], options()) == ("web", {"web": {}, "db": {}})
    assert publishing.networks(["web"], options(ip="10.0.0.9", network_alias=("a",))) == (
        "web",
        {"web": {"Aliases": ["a"], "IPAMConfig": {"IPv4Address": "10.0.0.9"}}},
    )
    assert publishing.networks([], options(mac_address="02:00:00:00:00:01"))[1] == {"default": {"MacAddress": "02:00:00:00:00:01"}}
    word = "name=web,alias=a,alias=b,ip=10.0.0.9,mac-address=02:00:00:00:00:01,gw-priority=5"
    assert publishing.networks([word], options()) == (
        "web",
        {
            "web": {
                "MacAddress": "02:00:00:00:00:01",
                "GwPriority": 5,
                "Aliases": ["a", "b"],
                "IPAMConfig": {"IPv4Address": "10.0.0.9"},
            }
        },
    )
    for words, more in ((["none"], {"ip": "1.2.3.4"}), (["alias=a"], {}), (["name=a,x=y"], {})):
        with pytest.raises(InvalidArgument):
            publishing.networks(words, options(**more))


def test_each_gateway_finds_its_subnet() -> None:
    found = network.pools(("10.0.0.0/24", "fd00::/64"), ("fd00::1", "10.0.0.254"), ("10.0.0.128/25",), {"printer": "10.0.0.9"})
    assert found == [
        {
            "Subnet": "10.0.0.0/24",
            "Gateway": "10.0.0.254",
            "IPRange": "10.0.0.128/25",
            "AuxiliaryAddresses": {"printer": "10.0.0.9"},
        },
        {"Subnet": "fd00::/64", "Gateway": "fd00::1"},
    ]
    for gateways in (("10.9.0.1",), ("x",)):
        with pytest.raises(InvalidArgument):
            network.pools(("10.0.0.0/24",), gateways, (), {})
