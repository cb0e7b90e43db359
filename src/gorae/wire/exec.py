"""Exec sessions: another program in a running container."""

from __future__ import annotations

from msgspec import field

from gorae.wire.codec import Shape, Words


class ExecCreateRequest(Shape, frozen=True, kw_only=True):
    user: str = ""
    privileged: bool = False
    tty: bool = False
    console_size: list[int] | None = None  # height, width
    attach_stdin: bool = False
    attach_stderr: bool = False
    attach_stdout: bool = False
    detach_keys: str = ""
    env: list[str] | None = None
    working_dir: str = ""
    cmd: Words = None
    detach: bool = False  # only in API < 1.42; start's is the one that counts


class IdResponse(Shape, frozen=True, kw_only=True):
    id: str


class ExecStartRequest(Shape, frozen=True, kw_only=True):
    detach: bool = False
    tty: bool = False
    console_size: list[int] | None = None


class ProcessConfig(Shape, frozen=True, kw_only=True):
    tty: bool = field(default=False, name="tty")
    entrypoint: str = field(default="", name="entrypoint")
    arguments: list[str] = field(default_factory=list, name="arguments")
    privileged: bool = field(default=False, name="privileged")
    user: str = field(default="", name="user")


class ExecInspect(Shape, frozen=True, kw_only=True):
    id: str = field(name="ID")
    running: bool
    exit_code: int | None
    process_config: ProcessConfig
    open_stdin: bool
    open_stderr: bool
    open_stdout: bool
    can_remove: bool
    container_id: str = field(name="ContainerID")
    detach_keys: str
    pid: int
