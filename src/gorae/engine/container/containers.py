"""`Containers`: what the API and the library call.

A `reference` is a full id, an unambiguous prefix of one, or a name (with or without a leading "/"). Not found: NotFound with Docker's words
(`No such container: x`); several: InvalidArgument.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from gorae.engine.container.model import (
    Attachment,
    AttachRequest,
    Container,
    ContainerConfig,
    Created,
    Exec,
    ExecConfig,
    LogRequest,
    WaitCondition,
    WaitResult,
)
from gorae.engine.filters import Filters
from gorae.logs.lines import Block


class Waiting:
    """A registered wait: `await waiting.result()`; `close()` when no longer wanted."""

    async def result(self) -> WaitResult:
        """The exit code, once the condition holds. Raises NotFound when the container is removed while `next-exit` waits in vain."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Containers:
    async def create(self, config: ContainerConfig, *, name: str = "", platform: str = "") -> Created:
        """A row, a directory, and nothing running. NotFound: `No such image: x`. Conflict: the name is taken."""
        raise NotImplementedError

    async def start(self, reference: str, *, explain: bool = False) -> None:
        """Returns when the program runs. NotModified when it already does; BirthError (CommandNotFound 127, CommandNotExecutable 126) when it cannot:
        the container is then `created` again with exit code and error in its state.
        """
        raise NotImplementedError

    async def stop(self, reference: str, *, timeout: int | None = None, signal: str = "") -> None:
        """Stop signal, then SIGKILL after `timeout` seconds (-1: never; None: the container's, or 10). NotModified when it does not run."""
        raise NotImplementedError

    async def restart(self, reference: str, *, timeout: int | None = None, signal: str = "") -> None:
        raise NotImplementedError

    async def kill(self, reference: str, *, signal: str = "") -> None:
        """Conflict (`cannot kill container: x: container … is not running`) when it does not run."""
        raise NotImplementedError

    async def pause(self, reference: str) -> None:
        raise NotImplementedError

    async def unpause(self, reference: str) -> None:
        raise NotImplementedError

    async def rename(self, reference: str, name: str) -> None:
        raise NotImplementedError

    async def remove(self, reference: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> None:
        """Conflict when it runs and `force` is not given."""
        raise NotImplementedError

    async def resize(self, reference: str, height: int, width: int) -> None:
        raise NotImplementedError

    def inspect(self, reference: str) -> Container:
        """Never waits: not for a start, not for the disk."""
        raise NotImplementedError

    async def sizes(self, container: Container) -> Container:
        """The same with `size_rw` and `size_root` filled in."""
        raise NotImplementedError

    async def list(self, *, all: bool = False, limit: int = 0, size: bool = False, filters: Filters | None = None) -> list[Container]:
        """Newest first. InvalidArgument for an unknown filter."""
        raise NotImplementedError

    def wait(self, reference: str, condition: WaitCondition = "not-running") -> Waiting:
        """Registered when this returns, so that an exit between the answer's headers and its body is not missed."""
        raise NotImplementedError

    async def attach(self, reference: str, request: AttachRequest) -> Attachment:
        """Before the start as well: the socket then waits for it."""
        raise NotImplementedError

    def logs(self, reference: str, request: LogRequest) -> AsyncIterator[Sequence[Block]]:
        """Batches of `Block(stream, time, data, partial)`, oldest first: `data` is one or more whole lines of one time and stream (1: stdout and a TTY,
        2: stderr), or, when `partial`, a piece of a line that goes on in the stream's next block; with `follow` until the container has ended. Errors (NotFound, Unsupported for driver `none`) come from this
        call itself. `aclose()` the iterator.
        """
        raise NotImplementedError

    async def top(self, reference: str) -> Sequence[int]:
        """The pids (in the host's namespace) of everything that runs in it."""
        raise NotImplementedError

    def birth(self, reference: str) -> Sequence[Mapping[str, Any]]:
        """The steps of the last birth, when it was started with `explain`; NotFound otherwise."""
        raise NotImplementedError

    async def prune(self, filters: Filters | None = None) -> tuple[Sequence[str], int]:
        """Ids removed and bytes freed."""
        raise NotImplementedError

    async def exec_create(self, reference: str, config: ExecConfig) -> str:
        """The id of an exec. Conflict: `container x is not running` or `is paused`."""
        raise NotImplementedError

    async def exec_start(self, exec_id: str, *, detach: bool = False, tty: bool | None = None, console_size: tuple[int, int] = (0, 0)) -> Attachment | None:
        """Runs it; an Attachment unless detached. NotFound: `No such exec instance: x`. BirthError as in `start` (and exit code 126/127 kept)."""
        raise NotImplementedError

    def exec_inspect(self, exec_id: str) -> Exec:
        raise NotImplementedError

    async def exec_resize(self, exec_id: str, height: int, width: int) -> None:
        raise NotImplementedError
