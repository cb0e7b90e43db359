"""`commit`: a container's changes become the uppermost layer of a new image.

    pause ─▶ visitor: upper directory ─▶ tar ─▶ blob ─▶ unpause ─▶ snapshot ─▶ configuration ─▶ row, name
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from gorae import errors
from gorae.engine.container.archives import Archives
from gorae.engine.container.entries import Entries
from gorae.engine.container.life import Life
from gorae.engine.container.model import Container
from gorae.engine.container.premises import Premises
from gorae.engine.image.model import Image, ImageConfig


class Commits:
    def __init__(self, premises: Premises, entries: Entries, life: Life, archives: Archives) -> None:
        self._premises = premises
        self._entries = entries
        self._life = life
        self._archives = archives

    async def run(
        self,
        reference: str,
        *,
        repository: str = "",
        tag: str = "",
        comment: str = "",
        author: str = "",
        changes: Sequence[str] = (),
        pause: bool = True,
        overrides: ImageConfig | None = None,
    ) -> Image:
        """Unsupported for a container of the built-in image: this machine's own tree cannot become a layer below it."""
        entry = self._entries.find(reference)
        container = entry.container
        parent = self._premises.images.get(container.image_id)
        if parent.builtin:
            raise errors.Unsupported(
                f"container {container.name} stands on this machine's own tree (image {container.config.image}), which cannot "
                "become an image: export it and import that, or start from another image"
            )
        if entry.status in ("removing", "dead"):
            raise errors.Conflict(f"You cannot commit container {entry.id} which is Dead")
        async with self._still(reference, pause and entry.status == "running"):
            async with self._archives.layer(container) as layer:
                image = await self._premises.images.commit(
                    parent,
                    layer,
                    config=merged(configuration(container), overrides),
                    changes=changes,
                    repository=repository,
                    tag=tag,
                    comment=comment,
                    author=author,
                    created_by=" ".join((container.path, *container.arguments)),
                )
        name = image.repo_tags[0] if image.repo_tags else ""
        self._life.tell(container, "commit", comment=comment, imageID=image.id, imageRef=name)
        return image

    @contextlib.asynccontextmanager
    async def _still(self, reference: str, pause: bool) -> AsyncIterator[None]:
        entry = self._entries.find(reference)
        if pause:
            await self._life.pause(entry)
        try:
            yield
        finally:
            if pause:
                with contextlib.suppress(errors.Conflict, errors.NotFound):  # it has ended meanwhile
                    await self._life.unpause(entry)


def configuration(container: Container) -> ImageConfig:
    """What a container of the new image inherits: the wish and the old image, as they were merged. Pure."""
    return ImageConfig(
        user=container.user,
        exposed_ports=container.exposed_ports,
        env=container.environment,
        entrypoint=container.entrypoint,
        cmd=container.command,
        volumes=container.volumes,
        working_dir=container.working_directory,
        labels=container.labels,
        stop_signal=container.stop_signal,
        healthcheck=container.healthcheck,
        shell=container.config.shell or (),
    )


def merged(config: ImageConfig, given: ImageConfig | None) -> ImageConfig:
    """What was sent with the commit counts, where it says something; environment, labels, ports and volumes are added to. Pure."""
    if given is None:
        return config
    names = {word.partition("=")[0] for word in given.env}
    return ImageConfig(
        user=given.user or config.user,
        exposed_ports=tuple(dict.fromkeys((*given.exposed_ports, *config.exposed_ports))),
        env=(*given.env, *(word for word in config.env if word.partition("=")[0] not in names)),
        entrypoint=given.entrypoint or config.entrypoint,
        cmd=given.cmd or (None if given.entrypoint else config.cmd),
        volumes=tuple(dict.fromkeys((*given.volumes, *config.volumes))),
        working_dir=given.working_dir or config.working_dir,
        labels={**config.labels, **given.labels},
        stop_signal=given.stop_signal or config.stop_signal,
        healthcheck=given.healthcheck or config.healthcheck,
        on_build=given.on_build or config.on_build,
        shell=given.shell or config.shell,
    )
