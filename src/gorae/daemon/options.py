"""goraed's command line: flags, most of which are keys of daemon.json, and win over it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from gorae.version import API_VERSION, VERSION

DEFAULT_FILE = "/etc/gorae/daemon.json"


@dataclass(frozen=True)
class Options:
    """`overrides` are fields of the engine's configuration; `config_chosen` tells whether the file must exist."""

    config_file: str
    config_chosen: bool
    overrides: dict[str, Any]


def parse(arguments: list[str] | None = None) -> Options:
    """From the command line. Leaves with status 2 and words for one that makes no sense, 0 after --help and --version."""
    parser = argparse.ArgumentParser(
        prog="goraed",
        description="Serves the Docker Engine API for the containers of this machine.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"goraed {VERSION}, Docker Engine API {API_VERSION}")
    add("--data-root", metavar="PATH", help="images, containers, logs (default /var/lib/gorae)")
    add("--exec-root", metavar="PATH", help="sockets and what lives only as long as the machine runs (default /run/gorae)")
    add("-H", "--host", action="append", metavar="ADDRESS", help="unix://PATH or tcp://ADDRESS:PORT; may be repeated (default unix://EXEC-ROOT/docker.sock)")
    add("--config-file", metavar="PATH", help=f"Docker's daemon.json (default {DEFAULT_FILE})")
    add("-p", "--pidfile", metavar="PATH", help="(default EXEC-ROOT/goraed.pid)")
    add("-G", "--group", metavar="GROUP", help="who may use the sockets, beside root (default docker)")
    add("--cgroup-parent", metavar="PATH", help="the containers' cgroup in each hierarchy (default /gorae)")
    add("--log-level", choices=("debug", "info", "warn", "error", "fatal"))
    add("-D", "--debug", action="store_true", default=None, help="log every request that fails, and more")
    add("--tls", action="store_true", default=None, help="TLS on TCP, without client certificates; implied by --tlsverify")
    add("--tlsverify", action="store_true", default=None, help="TLS on TCP, for clients with a certificate of --tlscacert only")
    add("--tlscacert", metavar="PATH", help="the authority of the clients' certificates (default ~/.docker/ca.pem)")
    add("--tlscert", metavar="PATH", help="our certificate (default ~/.docker/cert.pem)")
    add("--tlskey", metavar="PATH", help="its key (default ~/.docker/key.pem)")
    add("--insecure", action="store_true", default=None, help="serve TCP without client certificates: whoever reaches it is root")
    add("--authorization-plugin", action="append", metavar="NAME", help="ask it about every request; may be repeated")
    given = parser.parse_args(arguments)
    overrides = {
        "data_root": given.data_root,
        "exec_root": given.exec_root,
        "hosts": given.host,
        "pidfile": given.pidfile,
        "group": given.group,
        "cgroup_parent": given.cgroup_parent,
        "log_level": given.log_level,
        "tls": given.tls,
        "tls_verify": given.tlsverify,
        "tls_ca_certificate": given.tlscacert,
        "tls_certificate": given.tlscert,
        "tls_key": given.tlskey,
        "insecure": given.insecure,
        "authorization_plugins": given.authorization_plugin,
        "debug": given.debug,
    }
    return Options(
        config_file=given.config_file or DEFAULT_FILE,
        config_chosen=given.config_file is not None,
        overrides={name: value for name, value in overrides.items() if value is not None},
    )
