"""The engine's facts about itself → `GET /version` and `GET /info`."""

from __future__ import annotations

from msgspec import UNSET

from gorae.api.adapt.moment import rfc3339
from gorae.engine.config import LOG_DRIVERS
from gorae.engine.system import Info, Version
from gorae.version import API_VERSION, API_VERSION_MINIMUM
from gorae.wire import system
from gorae.wire.versions import Version as ApiVersion


def version(value: Version) -> system.Version:
    details = {
        "ApiVersion": API_VERSION,
        "Arch": value.architecture,
        "BuildTime": value.build_time,
        "Experimental": "false",
        "GitCommit": value.git_commit,
        "GoVersion": f"none (Python {value.python})",
        "KernelVersion": value.kernel,
        "MinAPIVersion": API_VERSION_MINIMUM,
        "Os": value.operating_system,
    }
    return system.Version(
        platform=system.Platform(name="Gorae"),
        components=[system.Component(name="Engine", version=value.version, details=details)],
        version=value.version,
        api_version=API_VERSION,
        min_api_version=API_VERSION_MINIMUM,
        git_commit=value.git_commit,
        go_version=details["GoVersion"],
        os=value.operating_system,
        arch=value.architecture,
        kernel_version=value.kernel,
        build_time=value.build_time,
    )


def info(value: Info, api: ApiVersion) -> system.Info:
    bridge = False if api < (1, 50) else UNSET
    return system.Info(
        id=value.id,
        containers=value.containers,
        containers_running=value.containers_running,
        containers_paused=value.containers_paused,
        containers_stopped=value.containers_stopped,
        images=value.images,
        driver=value.storage_driver,
        docker_root_dir=value.data_root,
        plugins=system.Plugins(volume=["local"], network=["host", "null"], log=list(LOG_DRIVERS)),
        memory_limit=value.memory_limit,
        swap_limit=value.swap_limit,
        cpu_cfs_period=value.cpu_quota,
        cpu_cfs_quota=value.cpu_quota,
        cpu_shares=value.cpu_shares,
        cpu_set=value.cpuset,
        pids_limit=value.pids_limit,
        oom_kill_disable=value.oom_kill_disable,
        ipv4_forwarding=True,
        bridge_nf_iptables=bridge,
        bridge_nf_ip6tables=bridge,
        debug=value.debug,
        n_fd=value.file_descriptors,
        n_goroutines=value.tasks,
        system_time=rfc3339(value.system_time),
        logging_driver=value.logging_driver,
        cgroup_driver=value.cgroup_driver,
        cgroup_version=value.cgroup_version,
        n_events_listener=value.events_listeners,
        kernel_version=value.kernel_version,
        operating_system=value.operating_system,
        os_type=value.os_type,
        architecture=value.architecture,
        ncpu=value.cpus,
        mem_total=value.memory,
        registry_config=system.RegistryConfig(
            insecure_registry_cidrs=list(value.insecure_registries), mirrors=list(value.registry_mirrors) or None
        ),
        name=value.name,
        labels=list(value.labels),
        server_version=value.server_version,
        runtimes={value.default_runtime: system.Runtime(path="gorae-runtime")},
        default_runtime=value.default_runtime,
        live_restore_enabled=value.live_restore,
        init_binary="gorae",
        security_options=list(value.security_options),
        warnings=list(value.warnings) or None,
    )
