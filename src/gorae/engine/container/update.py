"""`update`: limits and restart policy of a container, at once if it runs.

    merge (pure) ─▶ check ─▶ cgroup ─▶ row ─▶ event

What a request leaves at zero stays as it was, as with Docker. A limit that the kernel refuses (memory below what is in use) leaves
the container as it was.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from gorae import errors
from gorae.cgroup import limits
from gorae.engine.container import resources, restart_policy
from gorae.engine.container.entries import Entries
from gorae.engine.container.life import Life
from gorae.engine.container.model import Container, Resources, RestartPolicy
from gorae.engine.container.premises import Premises
from gorae.engine.container.record import Records

CPU_TIME = ("nano_cpus", "cpu_period", "cpu_quota")


class Updates:
    def __init__(self, premises: Premises, entries: Entries, life: Life, records: Records) -> None:
        self._premises = premises
        self._entries = entries
        self._life = life
        self._records = records

    async def run(self, reference: str, given: Resources, policy: RestartPolicy | None) -> tuple[str, ...]:
        """Warnings. InvalidArgument, Conflict (in use) and Unsupported in Docker's words."""
        entry = self._entries.find(reference)
        async with entry.lock:
            container = entry.container
            if container.state.status in ("removing", "dead"):
                raise errors.Conflict(f'Container is marked for removal and cannot be "update".: {entry.id}')
            wanted = merge(container.config.resources, given)
            resources.check(wanted, self._premises.facts.cpus)
            config = msgspec.structs.replace(container.config, resources=wanted)
            if policy is not None:
                restart_policy.check(policy, auto_remove=config.auto_remove)
                config = msgspec.structs.replace(config, restart_policy=policy)
            warnings: tuple[str, ...] = ()
            if container.state.running and wanted != container.config.resources:
                warnings = await asyncio.to_thread(self._apply, container, wanted)
            changed = msgspec.structs.replace(container, config=config)
            await self._records.reconfigure(changed)
            entry.container = changed
        self._life.tell(entry.container, "update")
        return warnings

    def _apply(self, container: Container, wanted: Resources) -> tuple[str, ...]:
        """All of it or nothing."""
        cgroup, facts = self._premises.cgroup(container), self._premises.facts
        writes, warnings = limits.files(resources.translate(wanted, (), facts.throttles(wanted)), facts.layout)
        old = container.config.resources
        before, _ = limits.files(resources.translate(old, (), facts.throttles(old)), facts.layout)
        try:
            return warnings + cgroup.apply(writes)
        except (OSError, errors.GoraeError):
            with contextlib.suppress(OSError, errors.GoraeError):
                cgroup.apply(before)
            raise


def merge(old: Resources, given: Resources) -> Resources:
    """`given`, where it says something. The two ways to say CPU time replace each other. Pure."""
    names = set(Resources.__struct_fields__) - {"ulimits"}  # which are the processes' own: too late
    changes = {name: value for name in names if (value := getattr(given, name)) or name in _absent(given)}
    if given.nano_cpus and (old.cpu_quota or old.cpu_period):
        raise errors.InvalidArgument("Conflicting options: Nano CPUs cannot be updated as CPU Quota or Period has already been set")
    if (given.cpu_quota or given.cpu_period) and old.nano_cpus:
        raise errors.InvalidArgument("Conflicting options: CPU Quota or Period cannot be updated as NanoCPUs has already been set")
    if given.memory and not given.memory_swap and 0 < old.memory_swap < given.memory:
        raise errors.InvalidArgument(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    return msgspec.structs.replace(old, **changes)


def _absent(given: Resources) -> set[str]:
    """Fields in which 0 says something, because None says nothing."""
    return {name for name in ("pids_limit", "memory_swappiness") if getattr(given, name) is not None}
