"""The wish: merged with the image, checked, its mounts, limits and modes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae import errors
from gorae.engine.config import Config
from gorae.engine.container import capabilities, files, merge, modes, options, resources, restart_policy, security, sysctls, volumes
from gorae.engine.container.facts import Facts
from gorae.engine.container.model import Container, ContainerConfig, LogConfig, Mount, Resources, RestartPolicy, State, Ulimit
from gorae.engine.image.model import ImageConfig
from gorae.linux.capability import NAMES
from gorae.oci import runtimespec

FACTS = Facts(cpus=4, limits={"RLIMIT_NOFILE": (1024, 20000)})
WITHOUT_RESOURCE = FACTS.bounding & ~(1 << NAMES["CAP_SYS_RESOURCE"])
DEFAULTS = Config()


def wish(**fields: object) -> ContainerConfig:
    return ContainerConfig(image="x", network_mode=str(fields.pop("network_mode", "none")), **fields)  # type: ignore[arg-type]


def warnings(facts: Facts = FACTS, **fields: object) -> str:
    return "\n".join(options.check(wish(**fields), DEFAULTS, facts))


IMAGE = ImageConfig(
    entrypoint=("/entry",), cmd=("a", "b"), env=("PATH=/bin", "A=1"), labels={"x": "image", "y": "image"}, user="me"
)


@pytest.mark.parametrize(
    ("entrypoint", "command", "words"),
    [
        (None, None, ("/entry", "a", "b")),
        (None, ("c",), ("/entry", "c")),
        (("/mine",), None, ("/mine",)),
        (("/mine",), ("c",), ("/mine", "c")),
        (("",), ("c",), ("c",)),
        ((), ("c",), ("c",)),
    ],
)
def test_entrypoint_and_command_merge_as_dockers(
    entrypoint: tuple[str, ...] | None, command: tuple[str, ...] | None, words: tuple[str, ...]
) -> None:
    merged = merge.merge(wish(entrypoint=entrypoint, command=command), IMAGE)
    assert (merged.path, *merged.arguments) == words


def test_environment_labels_and_user_merge() -> None:
    merged = merge.merge(wish(environment=("A=2", "B"), labels={"x": "mine"}), IMAGE)
    assert merged.environment == ("A=2", "B", "PATH=/bin")
    assert merged.labels == {"x": "mine", "y": "image"}
    assert merged.user == "me"
    assert merge.overlaid(("PATH=/x", "HOME=/h"), ("PATH=/y", "HOME", "Z=1", "Z=2")) == ("PATH=/y", "Z=2")


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(errors.InvalidArgument, match="no command specified"):
        merge.merge(wish(), ImageConfig())
    with pytest.raises(errors.InvalidArgument, match="needs to be an absolute path"):
        merge.merge(wish(command=("x",), working_directory="rel"), ImageConfig())


@pytest.mark.parametrize(
    "fields",
    [
        {"environment": ("A\nB=1",)},
        {"environment": ("=1",)},
        {"environment": ("A=\0",)},
        {"hostname": "a\nb"},
        {"hostname": "-a"},
        {"domainname": "a b"},
        {"extra_hosts": ("a:1.2.3.4\n5.6.7.8 b",)},
        {"extra_hosts": ("a:not-an-address",)},
        {"user": "+0"},
        {"user": "-1"},
        {"user": "2147483648"},
        {"user": "a:b:c"},
        {"user": "root\n"},
        {"user": "0:4294967296"},
        {"group_add": ("a b",)},
        {"command": ("a\0b",)},
        {"labels": {"k\0": "v"}},
        {"labels": {"k": "\udc80"}},
        {"stop_signal": "SIGNOTHING"},
        {"dns": ("1.1.1.1\nnameserver 2.2.2.2",)},
        {"dns_search": ("a b",)},
        {"runtime": "kata"},
        {"sysctls": {"kernel.core_pattern": "|/x"}},
        {"sysctls": {"net.ipv4.ip_forward": "1\n2"}},
        {"sysctls": {"kernel.shm_rmid_forced/../../core_pattern": "1"}},
        {"sysctls": {"net.ipv4.ip_forward": "1"}, "network_mode": "host"},
        {"sysctls": {"kernel.shmmax": "1"}, "ipc_mode": "host"},
        {"device_cgroup_rules": ("c 1:3",)},
        {"shm_size": -1},
        {"oom_score_adj": 1001},
        {"cap_add": ("CAP_EVERYTHING",)},
        {"security_opt": ("nonsense",)},
        {"security_opt": ("no-new-privileges=maybe",)},
        {"userns_mode": "keep-id"},
        {"uts_mode": "host", "hostname": "x"},
        {"network_mode": "container:x", "hostname": "x"},
        {"network_mode": "container:"},
        {"ipc_mode": "weird"},
        {"log": LogConfig(driver="fluentd")},
        {"log": LogConfig(driver="local", options={"max-size": "-1"})},
        {"log": LogConfig(driver="local", options={"max-file": "0"})},
        {"log": LogConfig(driver="local", options={"nonsense": "0"})},
        {"auto_remove": True, "restart_policy": RestartPolicy(name="always")},
        {"restart_policy": RestartPolicy(name="always", maximum_retry_count=1)},
        {"restart_policy": RestartPolicy(name="sometimes")},
        {"resources": Resources(memory=1)},
        {"resources": Resources(memory=100 << 20, memory_swap=50 << 20)},
        {"resources": Resources(memory_swap=50 << 20)},
        {"resources": Resources(nano_cpus=5_000_000_000)},
        {"resources": Resources(nano_cpus=1, cpu_quota=2000)},
        {"resources": Resources(cpu_period=10)},
        {"resources": Resources(cpuset_cpus="9")},
        {"resources": Resources(cpuset_cpus="0-")},
        {"resources": Resources(blkio_weight=1)},
        {"resources": Resources(ulimits=(Ulimit(name="nope", soft=1, hard=1),))},
        {"resources": Resources(ulimits=(Ulimit(name="nofile", soft=2, hard=1),))},
    ],
    ids=str,
)
def test_bad_words_are_refused_at_create(fields: dict[str, object]) -> None:
    with pytest.raises(errors.InvalidArgument):
        options.check(wish(**fields), DEFAULTS, FACTS)


def test_what_is_not_honoured_is_warned_of() -> None:
    assert warnings() == ""
    assert warnings(healthcheck={"Test": ["CMD", "true"]}) == ""
    assert "AppArmor" in warnings(security_opt=("apparmor=mine",))
    assert "compress has no effect" in warnings(log=LogConfig(driver="json-file", options={"compress": "true"}))


def test_what_the_engine_lacks_is_warned_of() -> None:
    poor = Facts(cpus=4, bounding=WITHOUT_RESOURCE, limits={"RLIMIT_NOFILE": (1024, 20000)})
    assert "CAP_SYS_RESOURCE" in warnings(poor, privileged=True)
    assert "CAP_SYS_RESOURCE" in warnings(poor, cap_add=("sys_resource",))
    assert "oom_score_adj -500" in warnings(poor, oom_score_adj=-500)
    assert "ulimit nofile" in warnings(poor, resources=Resources(ulimits=(Ulimit(name="nofile", soft=30000, hard=30000),)))
    assert warnings(poor, resources=Resources(ulimits=(Ulimit(name="nofile", soft=300, hard=300),)), oom_score_adj=10) == ""
    limits, _ = resources.rlimits((Ulimit(name="nofile", soft=30000, hard=-1),), poor.limits, may_raise=False)
    assert (limits[0].soft, limits[0].hard) == (20000, 20000)


def test_capabilities() -> None:
    assert capabilities.wanted((), (), privileged=False) == frozenset(capabilities.DEFAULT)
    assert len(capabilities.DEFAULT) == 14
    assert capabilities.wanted(("net_admin",), ("CAP_CHOWN",), privileged=False) == (
        frozenset(capabilities.DEFAULT) - {"CAP_CHOWN"} | {"CAP_NET_ADMIN"}
    )
    assert capabilities.wanted(("all",), ("sys_admin",), privileged=False) == frozenset(NAMES) - {"CAP_SYS_ADMIN"}
    assert capabilities.wanted(("chown",), ("ALL",), privileged=False) == {"CAP_CHOWN"}
    assert capabilities.granted(frozenset({"CAP_KILL", "CAP_CHOWN"}), 1) == (("CAP_CHOWN",), ("CAP_KILL",))


def test_security_options() -> None:
    parsed = security.parse(("no-new-privileges", "seccomp=unconfined", "systempaths=unconfined"))
    assert parsed == (True, "unconfined", True, ())
    assert not security.parse(("no-new-privileges:false",), no_new_privileges=True).no_new_privileges


def test_sharing() -> None:
    shared = modes.sharing(wish(network_mode="container:abc", pid_mode="host", ipc_mode="shareable"))
    assert shared == ("container:abc", "host", "private", "private", "private")
    assert shared.joined() == {"network": "abc"}
    assert sysctls.chosen({}, shared) == {}
    assert "net.ipv4.ping_group_range" in sysctls.chosen({}, modes.sharing(wish()))


def here(path: str) -> bool:
    return path == "/there"


def test_binds_and_mounts() -> None:
    config = wish(
        binds=("/src//x/:/dst/", "/a:/b:ro,rshared,z"),
        mounts=(Mount(type="bind", source="/there", target="/m", read_only=True), Mount(type="tmpfs", target="/t", tmpfs_size=10)),
        tmpfs={"/run": "exec,size=64k"},
    )
    resolved = volumes.resolve(config, ("/data",), here)
    points = {point.destination: point for point in resolved.points}
    assert points["/dst"].source == "/src/x"
    assert (points["/b"].read_write, points["/b"].propagation) == (False, "rshared")
    assert not points["/m"].read_write
    assert points["/t"].mode == "size=10"
    assert "volume /data" in resolved.warnings[0]
    assert volumes.tmpfs_options("exec,size=64k,rw") == ("nosuid", "nodev", "exec", "size=64k", "rw")


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"binds": ("name:/x",)}, errors.Unsupported, "volumes are not offered yet"),
        ({"binds": ("/x",)}, errors.Unsupported, "anonymous volume"),
        ({"binds": ("/a:b",)}, errors.InvalidArgument, "must be absolute"),
        ({"binds": ("/a:/",)}, errors.InvalidArgument, "destination can't be '/'"),
        ({"binds": ("/a:/b:rx",)}, errors.InvalidArgument, "invalid mode: rx"),
        ({"binds": ("/a:/b", "/c:/b/")}, errors.InvalidArgument, "Duplicate mount point: /b"),
        ({"binds": ("/a:/proc/sys",)}, errors.InvalidArgument, "inside /proc"),
        ({"binds": ("/a:/x/../proc",)}, errors.InvalidArgument, "inside /proc"),
        (
            {"mounts": (Mount(type="bind", source="/missing", target="/m"),)},
            errors.InvalidArgument,
            "bind source path does not exist",
        ),
        ({"mounts": (Mount(type="bind", source="rel", target="/m"),)}, errors.InvalidArgument, "must be absolute"),
        ({"mounts": (Mount(type="bind", target="/m"),)}, errors.InvalidArgument, "Source must not be empty"),
        ({"mounts": (Mount(type="npipe", source="/there", target="/m"),)}, errors.InvalidArgument, "mount type unknown"),
        ({"mounts": (Mount(type="volume", target="/m"),)}, errors.Unsupported, "volumes are not offered yet"),
        ({"mounts": (Mount(type="tmpfs", target="/m", source="/x"),)}, errors.InvalidArgument, "Source must not be specified"),
        ({"tmpfs": {"/run": "size=1,evil=2"}}, errors.InvalidArgument, "invalid tmpfs option"),
        ({"volumes_from": ("x",)}, errors.Unsupported, "--volumes-from"),
    ],
    ids=str,
)
def test_bad_mounts_are_refused(fields: dict[str, object], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        volumes.resolve(wish(**fields), (), here)


@given(st.text(alphabet="abc/.:,\n\0 ro", max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_bind_is_taken_or_refused_by_name(text: str) -> None:
    try:
        point = volumes.parse_bind(text)
    except (errors.InvalidArgument, errors.Unsupported):
        return
    assert point.source.startswith("/")
    assert point.destination.startswith("/")
    assert ".." not in point.destination.split("/")


def test_limits_become_the_specifications() -> None:
    translated = resources.translate(Resources(memory=100 << 20, nano_cpus=1_500_000_000, pids_limit=-1), ())
    assert translated.memory is not None
    assert translated.memory.swap == 200 << 20
    assert translated.cpu is not None
    assert (translated.cpu.quota, translated.cpu.period) == (150_000, 100_000)
    assert translated.pids == runtimespec.Pids(limit=-1)
    assert resources.translate(Resources(), ()).cpu is None


@given(st.text(alphabet="0123456789-, x", max_size=20))
@settings(max_examples=100, deadline=None)
def test_any_cpu_set_is_parsed_or_refused(text: str) -> None:
    found = resources.parse_set(text)
    assert found is None or all(number <= 8192 for number in found)


def test_hosts_and_resolv_conf() -> None:
    assert files.hosts(("db:10.0.0.1", "v6=[::1]")).splitlines()[-2:] == ["10.0.0.1\tdb", "::1\tv6"]
    assert files.hosts((), "1.1.1.1 host\n") == "1.1.1.1 host\n"
    host = "# mine\nnameserver 9.9.9.9\nsearch a b\noptions ndots:2\n"
    assert files.resolv_conf(host, servers=(), search=(), options=()) == "nameserver 9.9.9.9\nsearch a b\noptions ndots:2\n"
    changed = files.resolv_conf(host, servers=("1.1.1.1",), search=(".",), options=("rotate",))
    assert changed == "nameserver 1.1.1.1\noptions rotate\n"


def test_files_are_written_private(tmp_path: Path) -> None:
    files.write(tmp_path / "c", {"hostname": "x\n"})
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "c/hostname").stat().st_mode & 0o777 == 0o644


def test_restart_waits_double_and_are_bounded() -> None:
    waits = [restart_policy.wait_before(n) for n in range(12)]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == 60
    assert restart_policy.wait_before(10**6) == 60
    assert restart_policy.in_a_row(5, 9.9) == 5
    assert restart_policy.in_a_row(5, 10) == 0


@pytest.mark.parametrize(
    ("policy", "code", "restarts", "stopped", "wanted", "at_start"),
    [
        ("no", 1, 0, False, False, False),
        ("", 1, 0, False, False, False),
        ("always", 0, 9, False, True, True),
        ("always", 0, 9, True, False, True),
        ("unless-stopped", 0, 0, False, True, True),
        ("unless-stopped", 0, 0, True, False, False),
        ("on-failure", 0, 0, False, False, False),
        ("on-failure", 1, 9, False, True, True),
        ("on-failure:3", 1, 2, False, True, True),
        ("on-failure:3", 1, 3, False, False, False),
        ("on-failure:3", 1, 2, True, False, False),
    ],
)
def test_restart_policies(policy: str, code: int, restarts: int, stopped: bool, wanted: bool, at_start: bool) -> None:
    name, _, count = policy.partition(":")
    container = Container(
        id="c",
        name="c",
        created_at=1,
        image_id="x",
        path="x",
        config=wish(restart_policy=RestartPolicy(name=name, maximum_retry_count=int(count or 0))),
        state=State(status="exited", exit_code=code, stopped_by_user=stopped),
        restart_count=restarts,
    )
    assert restart_policy.wanted_after(container) is wanted
    assert restart_policy.wanted_at_engine_start(container) is at_start
