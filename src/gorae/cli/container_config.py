"""The flags of `run` and `create` as the body of `POST /containers/create`. Pure, but for the files that flags name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gorae.cli import flags, publishing
from gorae.errors import InvalidArgument

Options = dict[str, Any]


def body(options: Options, image: str, command: Sequence[str]) -> dict[str, Any]:
    """Docker's create request: Config at the top, HostConfig within."""
    volumes = [flags.volume(word) for word in options["volume"]]
    config: dict[str, Any] = {
        "Image": image,
        "Cmd": list(command) or None,
        "Env": flags.environment(options["env"], options["env_file"]),
        "WorkingDir": options["workdir"],
        "User": options["user"],
        "Hostname": options["hostname"],
        "Domainname": options["domainname"],
        "Labels": labels(options),
        "Tty": options["tty"],
        "OpenStdin": options["interactive"],
        "StopSignal": options["stop_signal"] or None,
        "StopTimeout": options["stop_timeout"],
        "ExposedPorts": {port: {} for port in exposed_ports(options)} or None,
        "NetworkingConfig": networking(options),
        "Volumes": {path: {} for kind, path in volumes if kind == "anonymous"} or None,
        "Healthcheck": health_check(options),
        "HostConfig": host_config(options, [bind for kind, bind in volumes if kind == "bind"]),
    }
    if options["entrypoint"]:
        config["Entrypoint"] = [options["entrypoint"]]
    return {name: value for name, value in config.items() if value is not None}


def exposed_ports(options: Options) -> list[str]:
    return [*publishing.exposed(options["expose"]), *publishing.published(options["publish"])]


def networking(options: Options) -> dict[str, Any] | None:
    endpoints = publishing.networks(options["network"], options)[1]
    return {"EndpointsConfig": endpoints} if endpoints else None


def streams(options: Options, detached: bool) -> set[str]:
    """Which of stdin, stdout and stderr the client joins."""
    chosen = {word.lower() for word in options["attach"]}
    if chosen - {"stdin", "stdout", "stderr"}:
        raise InvalidArgument(f"invalid stream: {', '.join(sorted(chosen))} (expected stdin, stdout or stderr)")
    if detached and chosen:
        raise InvalidArgument("conflicting options: --attach and --detach")
    if detached:
        return set()
    return chosen or {"stdout", "stderr"} | ({"stdin"} if options["interactive"] else set())


def labels(options: Options) -> dict[str, str]:
    lines = [line for path in options["label_file"] for line in flags.lines_of(path, "label")]
    return flags.pairs([*lines, *options["label"]], "label")


def host_config(options: Options, binds: list[str]) -> dict[str, Any]:
    config = {
        "Binds": binds,
        "Mounts": [flags.mount(word) for word in options["mount"]],
        "Tmpfs": flags.tmpfs(options["tmpfs"]),
        "ReadonlyRootfs": options["read_only"],
        "CapAdd": list(options["cap_add"]),
        "CapDrop": list(options["cap_drop"]),
        "Privileged": options["privileged"],
        "SecurityOpt": flags.security_options(options["security_opt"]),
        "GroupAdd": list(options["group_add"]),
        "Sysctls": flags.pairs(options["sysctl"], "sysctl"),
        "NetworkMode": publishing.networks(options["network"], options)[0],
        "PortBindings": publishing.published(options["publish"]),
        "PublishAllPorts": options["publish_all"],
        "Links": list(options["link"]),
        "PidMode": options["pid"],
        "IpcMode": options["ipc"],
        "UTSMode": options["uts"],
        "CgroupnsMode": options["cgroupns"],
        "UsernsMode": options["userns"],
        "CgroupParent": options["cgroup_parent"],
        "ExtraHosts": list(options["add_host"]),
        "Dns": list(options["dns"]),
        "DnsSearch": list(options["dns_search"]),
        "DnsOptions": list(options["dns_option"]),
        "Init": options["init"],
        "VolumesFrom": list(options["volumes_from"]),
        "StorageOpt": flags.pairs(options["storage_opt"], "storage option"),
        "Annotations": flags.pairs(options["annotation"], "annotation"),
        "Runtime": options["runtime"],
        "RestartPolicy": restart_policy(options["restart"]),
        "LogConfig": log_config(options),
        "AutoRemove": options.get("rm", False),
    } | resources(options)
    return {name: value for name, value in config.items() if value not in (None, "", [], {}, False)}


def resources(options: Options) -> dict[str, Any]:
    def size(name: str) -> int | None:
        return flags.size(options[name]) if options[name] else None

    return {
        "Memory": size("memory"),
        "MemorySwap": size("memory_swap"),
        "MemoryReservation": size("memory_reservation"),
        "MemorySwappiness": options["memory_swappiness"],
        "OomKillDisable": options["oom_kill_disable"],
        "OomScoreAdj": options["oom_score_adj"] or None,
        "NanoCpus": flags.nano_cpus(options["cpus"]) if options["cpus"] else None,
        "CpuShares": options["cpu_shares"] or None,
        "CpuPeriod": options["cpu_period"] or None,
        "CpuQuota": options["cpu_quota"] or None,
        "CpusetCpus": options["cpuset_cpus"],
        "CpusetMems": options["cpuset_mems"],
        "BlkioWeight": options["blkio_weight"] or None,
        "BlkioWeightDevice": [flags.device_rate(word, "Weight") for word in options["blkio_weight_device"]],
        "BlkioDeviceReadBps": [flags.device_rate(word, "Rate", flags.size) for word in options["device_read_bps"]],
        "BlkioDeviceWriteBps": [flags.device_rate(word, "Rate", flags.size) for word in options["device_write_bps"]],
        "BlkioDeviceReadIOps": [flags.device_rate(word, "Rate") for word in options["device_read_iops"]],
        "BlkioDeviceWriteIOps": [flags.device_rate(word, "Rate") for word in options["device_write_iops"]],
        "CpuRealtimePeriod": options["cpu_rt_period"] or None,
        "CpuRealtimeRuntime": options["cpu_rt_runtime"] or None,
        "PidsLimit": options["pids_limit"],
        "ShmSize": size("shm_size"),
        "Ulimits": [flags.ulimit(word) for word in options["ulimit"]],
        "Devices": [flags.device(word) for word in options["device"]],
        "DeviceCgroupRules": list(options["device_cgroup_rule"]),
    }


def health_check(options: Options) -> dict[str, Any] | None:
    times = {"Interval": "health_interval", "Timeout": "health_timeout", "StartPeriod": "health_start_period",
             "StartInterval": "health_start_interval"}  # fmt: skip
    check: dict[str, Any] = {name: flags.duration(options[option]) for name, option in times.items() if options[option]}
    if options["health_retries"]:
        check["Retries"] = options["health_retries"]
    if options["health_cmd"]:
        check["Test"] = ["CMD-SHELL", options["health_cmd"]]
    if options["no_healthcheck"]:
        if check:
            raise InvalidArgument("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    return check or None


def restart_policy(word: str) -> dict[str, Any] | None:
    if not word:
        return None
    name, separator, count = word.partition(":")
    if separator and (name not in ("on-failure", "on-unhealthy") or not count.isdigit()):
        expected = "no, on-failure[:n], on-unhealthy[:n], always or unless-stopped"
        raise InvalidArgument(f"invalid restart policy: {word!r} (expected {expected})")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def log_config(options: Options) -> dict[str, Any] | None:
    settings = flags.pairs(options["log_opt"], "log option")
    if not options["log_driver"] and not settings:
        return None
    return {"Type": options["log_driver"], "Config": settings}
