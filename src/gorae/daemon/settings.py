"""Options and daemon.json → one configuration, refused in words when it makes no sense. Loads nothing but that."""

from __future__ import annotations

import os
from pathlib import Path

from gorae.daemon import listen, tcp
from gorae.daemon.options import Options
from gorae.daemon.tcp import Address
from gorae.engine import config as configuration
from gorae.engine.config import Config
from gorae.errors import InvalidArgument


def read(given: Options) -> Config:
    """Raises InvalidArgument (or Unsupported) naming the file and the key."""
    if given.config_chosen and not os.path.exists(given.config_file):
        raise InvalidArgument(f"there is no configuration file {given.config_file}")
    config = configuration.load(Path(given.config_file), **given.overrides)
    if any(isinstance(place, Address) for place in listen.places(config)) and tcp.secured(config):
        from gorae.daemon import certificates

        certificates.context(config)  # made again by whoever uses it: here, before anything is touched, it is only tried
    return config
