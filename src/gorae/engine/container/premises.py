"""Where a container lives on this machine: making it and taking it down. The effects that `life` orders.

<data root>/containers/<id>/    0700   hostname hosts resolv.conf output.log…
<exec root>/containers/<id>/    0700   rootfs/ (where its root is put together), exit.json (the supervisor's)
snapshot <id>                          its own layer
cgroup   <cgroup parent>/<id>          the supervisor makes and removes it; here only what was left behind
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from gorae import crashpoints, errors
from gorae.cgroup.group import Cgroup
from gorae.engine.config import Config
from gorae.engine.container import files
from gorae.engine.container.draft import Draft, draft
from gorae.engine.container.facts import Facts
from gorae.engine.container.model import Container, ContainerConfig
from gorae.engine.container.networking import Networking
from gorae.engine.container.spec import cgroup_path
from gorae.engine.image.images import Images
from gorae.storage.snapshot.snapshotter import Mount, Snapshotter

log = logging.getLogger(__name__)


class Premises:
    def __init__(
        self, config: Config, facts: Facts, images: Images, snapshots: Snapshotter, networking: Networking
    ) -> None:
        self.config = config
        self.facts = facts
        self.images = images
        self.networking = networking
        self._snapshots = snapshots

    def directory(self, identity: str) -> Path:
        return self.config.data_root / "containers" / identity

    def runtime_directory(self, identity: str) -> Path:
        return self.config.exec_root / "containers" / identity

    def cgroup(self, container: Container) -> Cgroup:
        return self.facts.layout.place(cgroup_path(container, self.config))

    def root_mounts(self, container: Container) -> tuple[Mount, ...]:
        return self._snapshots.mounts(container.id)

    def layers(self, container: Container) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """Its own directory, those below it (the nearest first), and the paths at which the former has marks of ours."""
        return self._snapshots.upper(container.id), self._snapshots.lowers(container.id), self._snapshots.hidden(container.id)

    def draft(self, identity: str, name: str, config: ContainerConfig, find: Callable[[str], Container]) -> Draft:
        """NotFound in Docker's words for an image that is not there."""
        self.networking.check(config)
        drafted = draft(
            identity,
            name,
            config,
            self.images.get(config.image),
            defaults=self.config,
            facts=self.facts,
            directory=self.directory(identity),
            find=find,
        )
        return drafted._replace(warnings=(*drafted.warnings, *self.networking.warnings(config)))

    async def prepare(self, draft: Draft, undo: AsyncExitStack) -> None:
        """Snapshot, directory and files; each one's undo is pushed."""
        container = draft.container
        parent = await self.images.rootfs(container.image_id)
        crashpoints.hit("container.create.before-snapshot")
        await self._snapshots.prepare(container.id, parent)
        crashpoints.hit("container.create.after-snapshot")
        undo.push_async_callback(self._snapshots.remove, container.id)
        directory = self.directory(container.id)
        undo.callback(shutil.rmtree, directory, ignore_errors=True)
        try:
            files.write(directory, draft.texts)
            crashpoints.hit("container.create.after-files")
        except OSError as error:
            raise errors.StorageFull(f"{directory}: {error.strerror}") from error

    def open_runtime(self, container: Container) -> Path:
        """Its runtime directory, empty but for `rootfs`. A record of an earlier run is gone: that end is in the database."""
        directory = self.runtime_directory(container.id)
        try:
            crashpoints.hit("container.start.before-runtime-directory")
            shutil.rmtree(directory, ignore_errors=True)
            (directory / "rootfs").mkdir(mode=0o700, parents=True)
            directory.chmod(0o700)
            crashpoints.hit("container.start.after-runtime-directory")
        except OSError as error:
            raise errors.Unavailable(f"{directory}: {error.strerror}: the runtime directory cannot be written") from error
        return directory

    def make_bind_sources(self, container: Container) -> None:
        """`-v /missing:/inside` makes the directory, as Docker does; `--mount` wants it there."""
        asked = {mount.source for mount in container.config.mounts if mount.type == "bind" and not mount.create_mountpoint}
        for point in container.mounts:
            if point.type != "bind" or os.path.lexists(point.source):
                continue
            if point.source in asked:
                raise errors.InvalidArgument(
                    f'invalid mount config for type "bind": bind source path does not exist: {point.source}'
                )
            try:
                os.makedirs(point.source, mode=0o755, exist_ok=True)
            except OSError as error:
                raise errors.InvalidArgument(
                    f"error while creating mount source path '{point.source}': mkdir {error.filename}: {error.strerror}"
                ) from error

    async def clear_runtime(self, container: Container) -> None:
        """What a start made: its place in networks, and its runtime directory."""
        self.networking.unplug(container)
        crashpoints.hit("container.exit.before-runtime-directory")
        shutil.rmtree(self.runtime_directory(container.id), ignore_errors=True)
        crashpoints.hit("container.exit.after-runtime-directory")

    async def evict(self, container: Container) -> None:
        """Kill whatever still runs in its cgroup, and remove that: for a birth or a container that nobody watches any more."""
        await asyncio.to_thread(self._evict, self.cgroup(container))

    def _evict(self, cgroup: Cgroup) -> None:
        try:
            if cgroup.exists():
                cgroup.kill()
                cgroup.remove()
        except (OSError, errors.GoraeError) as error:
            log.error("a cgroup was left behind: %s", error)

    def leave_cgroup_parent(self) -> None:
        """Nothing of ours runs: the empty cgroup above goes as well, unless somebody else has put something there."""
        for directory in self.facts.layout.place(self.config.cgroup_parent).paths().values():
            with contextlib.suppress(OSError):
                os.rmdir(directory)

    async def dismantle(self, container: Container) -> None:
        """Everything that `prepare` and a start made. What resists is told in the log and swept at the next start."""
        await self.clear_runtime(container)
        try:
            crashpoints.hit("container.remove.before-snapshot")
            await self._snapshots.remove(container.id)
            crashpoints.hit("container.remove.after-snapshot")
        except errors.NotFound:
            pass
        except (OSError, errors.GoraeError) as error:
            log.error("container %s: its snapshot was left behind: %s", container.id, error)
        shutil.rmtree(self.directory(container.id), ignore_errors=True)
        crashpoints.hit("container.remove.after-directory")

    async def size(self, container: Container) -> int:
        """Bytes of its own layer."""
        return (await self._snapshots.usage(container.id)).bytes
