"""config.json: complete for Linux, and the same after a round trip."""

from __future__ import annotations

import json
import time
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.errors import InvalidArgument
from gorae.oci import codec, runtimespec
from gorae.oci.json import read_json
from gorae.oci.runtimespec import Spec

# The specification's own example (config.md, "Configuration Schema Example"), shortened, with what 1.1 and 1.2 added.
EXAMPLE: dict[str, Any] = {
    "ociVersion": "1.2.0",
    "process": {
        "terminal": True,
        "consoleSize": {"height": 25, "width": 80},
        "user": {"uid": 1, "gid": 1, "umask": 63, "additionalGids": [5, 6]},
        "args": ["sh"],
        "env": ["PATH=/usr/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_NET_BIND_SERVICE"]},
        "rlimits": [{"type": "RLIMIT_CORE", "hard": 1024, "soft": 1024}, {"type": "RLIMIT_CPU", "hard": 2**64 - 1, "soft": 1}],
        "apparmorProfile": "acme_secure_profile",
        "oomScoreAdj": 100,
        "selinuxLabel": "system_u:system_r:svirt_lxc_net_t:s0:c124,c675",
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 4},
        "scheduler": {"policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"], "runtime": 1, "deadline": 2, "period": 3},
        "noNewPrivileges": True,
        "execCPUAffinity": {"initial": "7", "final": "0-3,7"},
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "slartibartfast",
    "domainname": "foobarbaz.test",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/data",
            "type": "bind",
            "source": "/volumes/data",
            "options": ["rbind", "idmap"],
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 2**32 - 1}],
            "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
        },
    ],
    "hooks": {
        "prestart": [{"path": "/usr/bin/fix-mounts", "args": ["fix-mounts", "arg1"], "env": ["key1=value1"], "timeout": 5}],
        "createRuntime": [{"path": "/a"}],
        "createContainer": [{"path": "/b"}],
        "startContainer": [{"path": "/c"}],
        "poststart": [{"path": "/d"}],
        "poststop": [{"path": "/e"}],
    },
    "annotations": {"com.example.key1": "value1"},
    "linux": {
        "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 7, "gid": 7}],
        "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 32000}],
        "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 32000}],
        "sysctl": {"net.ipv4.ip_forward": "1"},
        "cgroupsPath": "/myRuntime/myContainer",
        "resources": {
            "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
            "pids": {"limit": 32771},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 9223372036854772000}],
            "memory": {"limit": 536870912, "swap": -1, "kernelTCP": -1, "swappiness": 10, "disableOOMKiller": False},
            "cpu": {"shares": 1024, "quota": 1000000, "period": 500000, "burst": 7, "cpus": "2-3", "mems": "0-7", "idle": 0},
            "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
            "blockIO": {
                "weight": 10,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 300}],
            },
            "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}},
            "unified": {"memory.high": "1073741824"},
        },
        "rootfsPropagation": "slave",
        "seccomp": {
            "defaultAction": "SCMP_ACT_ALLOW",
            "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath": "/run/listener",
            "listenerMetadata": "x",
            "syscalls": [
                {
                    "names": ["getcwd", "chmod"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": 1,
                    "args": [{"index": 0, "value": 2**64 - 1, "valueTwo": 4, "op": "SCMP_CMP_MASKED_EQ"}],
                }
            ],
        },
        "timeOffsets": {"monotonic": {"secs": -172800, "nanosecs": 1}},
        "namespaces": [{"type": "pid"}, {"type": "network", "path": "/var/run/netns/x"}, {"type": "time"}],
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "mountLabel": "system_u:object_r:svirt_sandbox_file_t:s0:c715,c811",
        "personality": {"domain": "LINUX32", "flags": ["ADDR_NO_RANDOMIZE"]},
        "intelRdt": {"closID": "guaranteed_group", "l3CacheSchema": "L3:0=7f0", "enableMBM": True},
    },
}


def plain(value: object) -> object:
    """Without members that say what is the default anyway."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if key not in ("type",) or each != "a"}
    return [plain(each) for each in value] if isinstance(value, list) else value


def test_the_specification_example_survives_a_round_trip() -> None:
    spec = runtimespec.decode(read_json(json.dumps(EXAMPLE).encode()))
    assert plain(runtimespec.encode(spec)) == plain(EXAMPLE)
    assert runtimespec.decode(runtimespec.encode(spec)) == spec


def test_sections_of_other_systems_are_passed_over() -> None:
    assert runtimespec.decode({"ociVersion": "1.2.0", "windows": {"layerFolders": []}, "vm": 1}) == Spec("1.2.0")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("process.cwd", None, "config.json: process.cwd is required"),
        ("process.user.uid", 2**32, "process.user.uid: expected an integer from 0 to 4294967295"),
        ("linux.namespaces", [{"type": "net"}], r"linux.namespaces\[0\].type: expected one of 'pid', 'network'"),
        ("linux.seccomp.defaultAction", "ALLOW", "linux.seccomp.defaultAction: expected one of 'SCMP_ACT_KILL'"),
        ("linux.resources.pids", {}, "linux.resources.pids.limit is required"),
        ("linux.resources.memory.limit", 1e9, "linux.resources.memory.limit: expected an integer"),
        ("linux.sysctl", {"kernel.x": 1}, r"linux.sysctl\['kernel.x'\]: expected a string, not 1"),
        ("mounts", [{"type": "proc"}], r"mounts\[0\].destination is required"),
        ("hooks.prestart", [{"path": "/x", "timeout": "5"}], r"hooks.prestart\[0\].timeout: expected an integer"),
        ("annotations", ["x"], "annotations: expected an object, not an array"),
        ("ociVersion", None, "config.json: ociVersion is required"),
    ],
)
def test_errors_name_the_path(path: str, value: object, words: str) -> None:
    document = json.loads(json.dumps(EXAMPLE))
    *above, last = path.split(".")
    place = document
    for name in above:
        place = place[name]
    place[last] = value
    with pytest.raises(InvalidArgument, match=words):
        runtimespec.decode(document)


def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    """Any value that an annotation allows."""
    rules = getattr(annotation, "__metadata__", ())
    if rules:
        rule = rules[0]
        return st.integers(rule.low, rule.high) if isinstance(rule, codec.Between) else st.sampled_from(rule.words)
    arguments = get_args(annotation)
    if type(None) in arguments:
        return st.none() | values_of(next(each for each in arguments if each is not type(None)))
    if getattr(annotation, "__origin__", None) is tuple:
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if getattr(annotation, "__origin__", None) is dict:
        return st.dictionaries(st.text(max_size=3), values_of(arguments[1]), max_size=2)
    if is_dataclass(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        kind: Any = annotation
        return st.builds(kind, **{each.name: values_of(hints[each.name]) for each in fields(kind)})
    return {str: st.text(max_size=5), bool: st.booleans(), int: st.integers()}[annotation]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_spec_survives_a_round_trip(data: st.DataObject) -> None:
    """Through a dictionary: strings that JSON text could not carry are another module's matter."""
    spec = data.draw(values_of(Spec))
    assert runtimespec.decode(runtimespec.encode(spec)) == spec


def test_decoding_is_cheap() -> None:
    """It is paid for every container; the bound is loose for busy machines (0.1 ms measured)."""
    runtimespec.decode(EXAMPLE)
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        runtimespec.decode(EXAMPLE)
        best = min(best, time.perf_counter() - start)
    assert best < 0.002
