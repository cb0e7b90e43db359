"""`Catalogue`: the networks of this data root, from rows; create, find, list, remove, prune.

    bridge   the default one; a row since the first start, its subnet from daemon.json or the first free default pool
    host     the machine's own network         } fixed ids, no rows
    none     nothing but a loopback interface  }

A bridge is made in the kernel when the first container is plugged in, and again after a reboot: a row is enough to do that.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_interface, ip_network

import msgspec

from gorae import errors
from gorae.engine.config import Config
from gorae.engine.filters import Filters, boolean, check_keys, matches_labels
from gorae.engine.network import model, pools, rules
from gorae.engine.network.allocation import Allocation
from gorae.engine.network.model import DEFAULT, Network, Pool, Wish
from gorae.engine.network.plumbing import Plumbing
from gorae.engine.network.record import Records, name_clash
from gorae.netlink.link import IPVLAN_MODES, MACVLAN_MODES

HOST = Network(id="686f7374" + "0" * 56, name="host", driver="host")
NONE = Network(id="6e6f6e65" + "0" * 56, name="none", driver="null")
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*", re.ASCII)
LINK_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]{0,14}", re.ASCII)
DRIVERS = ("bridge", "macvlan", "ipvlan")
PREDEFINED_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
PRUNE_FILTERS = ("label", "label!", "until")


class Catalogue:
    """`in_use(id)` tells how many endpoints a network has."""

    def __init__(self, config: Config, records: Records, plumbing: Plumbing, identity: str) -> None:
        self.config = config
        self._records = records
        self._plumbing = plumbing
        self._prefix = pools.local_prefix(identity)
        self._by_id: dict[str, Network] = {HOST.id: HOST, NONE.id: NONE}
        self._by_name: dict[str, str] = {HOST.name: HOST.id, NONE.name: NONE.id}
        self._allocations: dict[str, Allocation] = {}
        self.in_use: Callable[[str], int] = lambda identity: 0

    # ── from rows ──

    async def load(self) -> None:
        for network in self._records.networks():
            self._add(network)
        if self.config.bridge == "none":
            return
        wanted = await self._default()
        known = self._by_id.get(self._by_name.get(DEFAULT, ""))
        if known is None:
            await self._records.insert(wanted)
            self._add(wanted)
        elif msgspec.structs.replace(known, id="", created_at=0) != msgspec.structs.replace(wanted, id="", created_at=0):
            changed = msgspec.structs.replace(wanted, id=known.id, created_at=known.created_at)
            await self._records.delete(known.id)
            await self._records.insert(changed)
            self._add(changed)

    async def _default(self) -> Network:
        """What daemon.json says of the default bridge; a subnet that was chosen once is kept."""
        config = self.config
        known = self._by_id.get(self._by_name.get(DEFAULT, ""))
        found: list[Pool] = []
        if config.bip:
            address = ip_interface(config.bip)
            found.append(Pool(subnet=str(address.network), gateway=str(address.ip), range=config.fixed_cidr))
        elif config.fixed_cidr:
            found += pools.check((Pool(subnet=config.fixed_cidr),), ())
        elif known is not None and (kept := next(pools.of_version(known.pools, 4), None)):
            found.append(kept)
        else:
            found.append(await self._free_pool(4))
        if config.ipv6 or config.bip6 or config.fixed_cidr_v6:
            if config.bip6:
                six = ip_interface(config.bip6)
                found.append(Pool(subnet=str(six.network), gateway=str(six.ip)))
            elif config.fixed_cidr_v6:
                found += pools.check((Pool(subnet=config.fixed_cidr_v6),), ())
            elif known is not None and (kept := next(pools.of_version(known.pools, 6), None)):
                found.append(kept)
            else:
                found.append(await self._free_pool(6))
        link = config.bridge or "gorae0"
        return Network(
            id=new_id(),
            name=DEFAULT,
            created_at=time.time_ns(),
            pools=tuple(found),
            ipv6=len(found) > 1,
            link=link,
            options={
                model.DEFAULT_BRIDGE: "true",
                model.ICC: str(config.icc).lower(),
                model.MASQUERADE: str(config.ip_masquerade).lower(),
                model.HOST_BINDING: config.publish_address or "0.0.0.0",
                model.BRIDGE_NAME: link,
                model.MTU: str(config.mtu or 1500),
            },
        )

    async def _free_pool(self, version: int) -> Pool:
        taken = [*self._subnets(), *await self._plumbing.run(self._plumbing.subnets_in_use)]
        given = [(each.base, each.size) for each in self.config.default_address_pools]
        if version == 4:
            offered = [each for each in given if ip_network(each[0], strict=False).version == 4] or list(pools.DEFAULT_POOLS)
        else:
            offered = [each for each in given if ip_network(each[0], strict=False).version == 6] or [(self._prefix, 64)]
        subnet = pools.choose(offered, taken, version)
        return Pool(subnet=str(subnet), gateway=str(pools.first_address(subnet)))

    def _subnets(self) -> list[pools.Subnet]:
        return [subnet for network in self._by_id.values() for subnet in rules.subnets(network)]

    def _add(self, network: Network) -> None:
        self._by_id[network.id] = network
        self._by_name[network.name] = network.id
        self._allocations[network.id] = Allocation(network)

    # ── looking ──

    def all(self) -> tuple[Network, ...]:
        return tuple(self._by_id.values())

    def get(self, identity: str) -> Network | None:
        return self._by_id.get(identity)

    def find(self, reference: str) -> Network:
        """By id, name, or the beginning of an id. NotFound in Docker's words."""
        if reference in ("default", ""):
            reference = DEFAULT
        if (found := self._by_id.get(reference)) is not None:
            return found
        if reference in self._by_name:
            return self._by_id[self._by_name[reference]]
        begun = [network for identity, network in self._by_id.items() if reference and identity.startswith(reference)]
        if len(begun) > 1:
            raise errors.InvalidArgument(f"network {reference} is ambiguous ({len(begun)} matches found based on ID prefix)")
        if not begun:
            raise errors.NotFound(f"network {ascii(reference)[1:-1]} not found")
        return begun[0]

    def allocation(self, identity: str) -> Allocation:
        return self._allocations[identity]

    def list(self, filters: Filters | None = None) -> list[Network]:
        filters = filters or {}
        check_keys(filters, PREDEFINED_FILTERS)
        for kind in filters.get("type", ()):
            if kind not in ("builtin", "custom"):
                raise errors.InvalidArgument(f"invalid filter: 'type'='{kind}'")
        dangling = boolean(filters, "dangling", False) if "dangling" in filters else None
        return [network for network in self._by_id.values() if self._fits(network, filters, dangling)]

    def _fits(self, network: Network, filters: Filters, dangling: bool | None) -> bool:
        names, ids = filters.get("name", ()), filters.get("id", ())
        kinds = ["builtin" if network.is_predefined else "custom"]
        unused = not network.is_predefined and not self.in_use(network.id)
        return (
            (not names or any(_matches(name, network.name) for name in names))
            and (not ids or network.id.startswith(tuple(ids)))
            and (not filters.get("driver") or network.driver in filters["driver"])
            and (not filters.get("scope") or "local" in filters["scope"])
            and (not filters.get("type") or any(kind in filters["type"] for kind in kinds))
            and matches_labels(network.labels, filters.get("label", ()))
            and (dangling is None or dangling == unused)
        )

    # ── changing ──

    async def create(self, wish: Wish) -> tuple[Network, tuple[str, ...]]:
        """InvalidArgument, Conflict (name), Forbidden (subnet) in Docker's words; warnings for options that do nothing."""
        _check(wish)
        if wish.name in self._by_name:
            raise name_clash(wish.name)
        driver = wish.driver or "bridge"
        given = pools.check(wish.pools, self._subnets()) if driver != "ipvlan" else pools.check(wish.pools, ())
        found = list(given)
        if wish.ipv4 and not any(pools.of_version(given, 4)):
            found.insert(0, await self._free_pool(4))
        ipv6 = wish.ipv6
        if ipv6 and not any(pools.of_version(given, 6)):
            found.append(await self._free_pool(6))
        if not ipv6 and any(pools.of_version(given, 6)):
            found = [pool for pool in found if ip_network(pool.subnet).version == 4]
        identity = new_id()
        link = wish.options.get(model.BRIDGE_NAME, "") or f"br-{identity[:12]}"
        if driver != "bridge":
            link = wish.options.get("parent", "")
        elif any(network.link == link for network in self._by_id.values()):
            raise errors.Forbidden(f"networks have same bridge name: {link}")
        network = Network(
            id=identity,
            name=wish.name,
            created_at=time.time_ns(),
            driver=driver,
            pools=tuple(found),
            ipv4=wish.ipv4,
            ipv6=ipv6,
            internal=wish.internal or (driver != "bridge" and not link),
            attachable=wish.attachable,
            options=dict(self.config.default_network_options.get(driver, {})) | wish.options,
            labels=wish.labels,
            ipam_driver=wish.ipam_driver or "default",
            ipam_options=wish.ipam_options,
            ipam_given=wish.pools,
            link=link,
        )
        if wish.name in self._by_name:  # somebody was quicker while we looked for a subnet
            raise name_clash(wish.name)
        self._add(network)
        try:
            await self._records.insert(network)
        except BaseException:
            self._drop(network)
            raise
        return network, _warnings(wish)

    async def remove(self, network: Network) -> None:
        """Forbidden in Docker's words for a predefined one and one in use."""
        if network.is_predefined:
            raise errors.Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        if self.in_use(network.id):
            raise errors.Forbidden(
                f"error while removing network: network {network.name} id {network.id} has active endpoints"
            )
        self._drop(network)
        try:
            await self._records.delete(network.id)
        except BaseException:
            self._add(network)
            raise

    def prunable(self, filters: Filters) -> Sequence[Network]:
        """Those without endpoints. `until` is seconds since the epoch."""
        check_keys(filters, PRUNE_FILTERS)
        until = [float(text) * 1e9 for text in filters.get("until", ()) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text)]
        return [
            network
            for network in self._by_id.values()
            if not network.is_predefined
            and not self.in_use(network.id)
            and matches_labels(network.labels, filters.get("label", ()))
            and not any(matches_labels(network.labels, (label,)) for label in filters.get("label!", ()))
            and all(network.created_at < moment for moment in until)
        ]

    def _drop(self, network: Network) -> None:
        self._by_id.pop(network.id, None)
        self._allocations.pop(network.id, None)
        if self._by_name.get(network.name) == network.id:
            del self._by_name[network.name]


def new_id() -> str:
    return secrets.token_hex(32)


def bridge_mac(network: Network) -> str:
    """Chosen, so that it does not change with every port (a bridge takes the lowest of its ports' otherwise)."""
    return (b"\x02\x42" + hashlib.sha256(network.id.encode()).digest()[:4]).hex(":")


def mtu(network: Network) -> int:
    """0: the kernel's default."""
    text = network.options.get(model.MTU, "")
    return int(text) if text.isdecimal() else 0


def mode(network: Network) -> int:
    """Of a macvlan or ipvlan."""
    if network.driver == "macvlan":
        return MACVLAN_MODES[network.options.get("macvlan_mode", "bridge")]
    return IPVLAN_MODES[network.options.get("ipvlan_mode", "l2")]


def _matches(pattern: str, name: str) -> bool:
    return pattern == name or pattern in name


def _check(wish: Wish) -> None:
    if not NAME.fullmatch(wish.name):
        raise errors.InvalidArgument(f"invalid network name: {ascii(wish.name)[1:-1]}: only [a-zA-Z0-9][a-zA-Z0-9_.-]* are allowed")
    if wish.name in model.PREDEFINED or wish.name == "default":
        raise errors.Forbidden(f"operation is not permitted on predefined {wish.name} network")
    if wish.config_only or wish.ingress:
        raise errors.Unsupported("config-only and ingress networks belong to swarm mode, which gorae does not have")
    if wish.driver == "overlay":
        raise errors.Forbidden("This node is not a swarm manager. gorae has no overlay networks; use bridge, macvlan or ipvlan.")
    if wish.driver in ("host", "null", "none"):
        kind = "host" if wish.driver == "host" else "null"
        raise errors.Forbidden(f'only one instance of "{kind}" network is allowed')
    if (wish.driver or "bridge") not in DRIVERS:
        raise errors.NotFound(f"could not find plugin {ascii(wish.driver)[1:-1]} in v1 plugin registry: plugin not found")
    if wish.ipam_driver not in ("", "default"):
        raise errors.NotFound(f"could not find plugin {ascii(wish.ipam_driver)[1:-1]} in v1 plugin registry: plugin not found")
    if wish.scope not in ("", "local"):
        raise errors.InvalidArgument(f"invalid scope {ascii(wish.scope)[1:-1]}: only local networks are offered")
    if not wish.ipv4 and not wish.ipv6:
        raise errors.InvalidArgument("IPv4 or IPv6 must be enabled")
    _check_options(wish.driver or "bridge", wish.options)


def _check_options(driver: str, options: Mapping[str, str]) -> None:
    if (text := options.get(model.MTU)) and not (text.isdecimal() and 68 <= int(text) <= 65535):
        raise errors.InvalidArgument(f"invalid MTU: {ascii(text)[1:-1]}")
    for name in (model.BRIDGE_NAME, "parent"):
        if (text := options.get(name)) and not LINK_NAME.fullmatch(text.partition(".")[0]):
            raise errors.InvalidArgument(f"invalid interface name: {ascii(text)[1:-1]}")
    for name in (model.ICC, model.MASQUERADE):
        if (text := options.get(name)) and text.lower() not in ("true", "false", "1", "0", "t", "f"):
            raise errors.InvalidArgument(f"failed to parse {name} value: {ascii(text)[1:-1]}")
    if driver == "macvlan" and options.get("macvlan_mode", "bridge") not in MACVLAN_MODES:
        raise errors.InvalidArgument(f"requested macvlan mode '{options['macvlan_mode']}' is not valid")
    if driver == "ipvlan" and options.get("ipvlan_mode", "l2") not in IPVLAN_MODES:
        raise errors.InvalidArgument(f"requested ipvlan mode '{options['ipvlan_mode']}' is not valid")


KNOWN_OPTIONS = {
    model.BRIDGE_NAME, model.ICC, model.MASQUERADE, model.HOST_BINDING, model.MTU, model.SPOOFING, model.DEFAULT_BRIDGE,
    "parent", "macvlan_mode", "ipvlan_mode",
}  # fmt: skip


def _warnings(wish: Wish) -> tuple[str, ...]:
    unknown = [name for name in wish.options if name not in KNOWN_OPTIONS]
    return tuple(f"network option {name} is not supported by gorae and has no effect" for name in unknown)
