"""What the API asks of an engine; `gorae.engine.engine.Engine` is one, the tests have a smaller one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gorae.engine.config import Config
    from gorae.engine.container.containers import Containers
    from gorae.engine.events import Events
    from gorae.engine.image.images import Images
    from gorae.engine.networks import Networks
    from gorae.engine.system import System


class Engine(Protocol):
    """The documents of these classes are the contract: what each call waits for, owns and raises."""

    @property
    def config(self) -> Config: ...

    @property
    def containers(self) -> Containers: ...

    @property
    def images(self) -> Images: ...

    @property
    def networks(self) -> Networks: ...

    @property
    def events(self) -> Events: ...

    @property
    def system(self) -> System: ...
