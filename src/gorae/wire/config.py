"""What a container is made from: Config (portable between machines) and the body of `POST /containers/create`."""

from __future__ import annotations

from gorae.wire.codec import Empty, Shape, Words
from gorae.wire.hostconfig import HostConfig
from gorae.wire.network import NetworkingConfig


class HealthConfig(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """Times are nanoseconds; 0 inherits."""

    test: Words = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class Config(Shape, frozen=True, kw_only=True):
    """`cmd` and `entrypoint` None: the image's; `entrypoint` [""]: none at all."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, Empty] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: Words = None
    healthcheck: HealthConfig | None = None
    args_escaped: bool = False
    image: str = ""
    volumes: dict[str, Empty] | None = None
    working_dir: str = ""
    entrypoint: Words = None
    network_disabled: bool = False
    mac_address: str = ""  # until API 1.43; an endpoint's since
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: Words = None


class CreateRequest(Config, frozen=True, kw_only=True):
    host_config: HostConfig = HostConfig()
    networking_config: NetworkingConfig = NetworkingConfig()


class ImageConfig(Shape, frozen=True, kw_only=True):
    """An image's defaults, as `GET /images/{name}/json` tells them."""

    user: str = ""
    exposed_ports: dict[str, Empty] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    healthcheck: HealthConfig | None = None
    args_escaped: bool = False
    volumes: dict[str, Empty] | None = None
    working_dir: str = ""
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    shell: list[str] | None = None
