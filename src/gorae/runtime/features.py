"""What this runtime can do, as the specification's features.md has it: for engines that ask before they try."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from typing import Any

from gorae.linux import capability
from gorae.linux.namespace import available
from gorae.oci.runtimespec import SECCOMP_OPERATORS
from gorae.runtime.options import CLEAR, PROPAGATION, SET
from gorae.runtime.seccomp.compiler import ABIS, FLAGS
from gorae.runtime.seccomp.rules import RESULTS
from gorae.version import VERSION

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def features() -> dict[str, Any]:
    machine = os.uname().machine
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.2.0",
        "hooks": list(HOOKS),
        "mountOptions": mount_options(),
        "linux": {
            "namespaces": sorted(kind.oci for kind in available()),
            "capabilities": [name for name, number in capability.NAMES.items() if number <= capability.last()],
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True},
            "seccomp": {
                "enabled": machine in ABIS,
                "actions": sorted(RESULTS),
                "operators": list(SECCOMP_OPERATORS),
                "archs": sorted(abi.name for abi in ABIS.get(machine, ())),
                "knownFlags": sorted(FLAGS),
                "supportedFlags": sorted(FLAGS),
            },
            "apparmor": {"enabled": os.path.isdir("/sys/kernel/security/apparmor")},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": False}},
        },
        "annotations": {"io.github.gorae.version": VERSION},
    }


def mount_options() -> list[str]:
    recursive = {f"r{option}" for option in (*SET, *CLEAR) if option != "defaults"}
    return sorted({"bind", "rbind", "tmpcopyup", *SET, *CLEAR, *PROPAGATION, *recursive})


def command(_: Namespace) -> int:
    print(json.dumps(features(), indent=2))
    return 0
