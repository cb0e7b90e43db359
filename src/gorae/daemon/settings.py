"""Options and daemon.json → one configuration, refused in words when it makes no sense. Loads nothing but that."""

from __future__ import annotations

import os
from pathlib import Path

from gorae.daemon import listen
from gorae.daemon.options import Options
from gorae.engine import config as configuration
from gorae.engine.config import Config
from gorae.errors import InvalidArgument


def read(given: Options) -> Config:
    """Raises InvalidArgument (or Unsupported) naming the file and the key."""
    if given.config_chosen and not os.path.exists(given.config_file):
        raise InvalidArgument(f"there is no configuration file {given.config_file}")
    config = configuration.load(Path(given.config_file), **given.overrides)
    if config.tls or config.tls_verify:
        raise InvalidArgument(f"{given.config_file}: tls is not implemented in this version of gorae; leave it out")
    listen.paths(config.hosts, config.exec_root)
    return config
