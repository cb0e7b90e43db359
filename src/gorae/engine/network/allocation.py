"""Which address an endpoint gets: the next one that is free, going round, so that an address rests before somebody else has it.

What is taken is known from the rows of endpoints alone; this is memory, made again when the engine opens.
"""

from __future__ import annotations

import secrets
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from gorae import errors
from gorae.engine.network.model import Endpoint, Network, Pool

Address = IPv4Address | IPv6Address
FAR = 1 << 24  # addresses of a subnet that are looked at


class Addresses:
    """Of one pool."""

    def __init__(self, pool: Pool) -> None:
        self.subnet = ip_network(pool.subnet)
        span = ip_network(pool.range) if pool.range else self.subnet
        self._first, self._last = int(span[0]), min(int(span[-1]), int(span[0]) + FAR)
        self._kept = {int(self.subnet[0]), *(int(ip_address(text)) for text in pool.auxiliary.values())}
        if pool.gateway:
            self._kept.add(int(ip_address(pool.gateway)))
        if self.subnet.version == 4:
            self._kept.add(int(self.subnet[-1]))
        self._taken: dict[int, str] = {}
        self._next = self._first

    def take(self, endpoint: str) -> Address:
        """Forbidden, in Docker's words, when all are taken."""
        tried = 0
        number = self._next
        while tried <= self._last - self._first:
            if number > self._last:
                number = self._first
            if number not in self._kept and number not in self._taken:
                self._taken[number] = endpoint
                self._next = number + 1
                return self._address(number)
            number += 1
            tried += 1
        raise errors.Forbidden("no available IPv4 addresses on this network's address pools" if self.subnet.version == 4 else
                               "no available IPv6 addresses on this network's address pools")

    def take_this(self, text: str, endpoint: str) -> Address:
        """The one that was asked for. InvalidArgument when it is not in the subnet, Forbidden when another has it."""
        try:
            wanted = ip_address(text.partition("/")[0])
        except ValueError:
            raise errors.InvalidArgument(f"invalid IP address: {text}") from None
        number = int(wanted)
        if wanted not in self.subnet:
            raise errors.InvalidArgument("no configured subnet contains IP address " + str(wanted))
        if number in self._kept or self._taken.get(number, endpoint) != endpoint:
            raise errors.Forbidden("Address already in use")
        self._taken[number] = endpoint
        return wanted

    def free(self, address: str, endpoint: str) -> None:
        number = int(ip_address(address))
        if self._taken.get(number) == endpoint:
            del self._taken[number]

    @property
    def taken(self) -> int:
        return len(self._taken)

    def _address(self, number: int) -> Address:
        return IPv4Address(number) if self.subnet.version == 4 else IPv6Address(number)


class Allocation:
    """Of one network: the first of its pools of each version that has room."""

    def __init__(self, network: Network) -> None:
        self._pools = [(pool, Addresses(pool)) for pool in network.pools]

    def take(self, version: int, endpoint: str, wanted: str = "") -> tuple[str, str]:
        """Address with prefix, and gateway; empty when the network has no pool of that version."""
        pools = [(pool, addresses) for pool, addresses in self._pools if addresses.subnet.version == version]
        if not pools:
            if wanted:
                raise errors.InvalidArgument(f"no configured subnet contains IP address {wanted}")
            return "", ""
        failure: errors.GoraeError | None = None
        for pool, addresses in pools:
            try:
                found = addresses.take_this(wanted, endpoint) if wanted else addresses.take(endpoint)
            except errors.GoraeError as error:
                failure = failure if isinstance(failure, errors.Forbidden) else error
                continue
            return f"{found}/{addresses.subnet.prefixlen}", pool.gateway
        assert failure is not None
        raise failure

    def hold(self, endpoint: Endpoint) -> None:
        """What a row says. A clash is not raised: the container has that address, whatever we think."""
        for address in filter(None, (endpoint.address4, endpoint.address6)):
            for _, addresses in self._pools:
                if ip_address(address) in addresses.subnet:
                    try:
                        addresses.take_this(address, endpoint.id)
                    except errors.GoraeError:
                        pass

    def free(self, endpoint: Endpoint) -> None:
        for address in filter(None, (endpoint.address4, endpoint.address6)):
            for _, addresses in self._pools:
                if ip_address(address) in addresses.subnet:
                    addresses.free(address, endpoint.id)


def mac_of(address: str) -> str:
    """Locally administered, and made from the IPv4 address, so that neighbours' caches stay right when it is given out again."""
    tail = ip_address(address).packed if address and ":" not in address else secrets.token_bytes(4)
    return (b"\x02\x42" + tail).hex(":")


def check_mac(text: str) -> str:
    """InvalidArgument in Docker's words."""
    digits = text.replace("-", ":").replace(".", ":").split(":")
    if len(digits) == 6 and all(1 <= len(part) <= 2 and set(part.lower()) <= set("0123456789abcdef") for part in digits):
        packed = bytes(int(part, 16) for part in digits)
        if not packed[0] & 1 and any(packed):
            return packed.hex(":")
    raise errors.InvalidArgument(f"invalid MAC address: {text}")
