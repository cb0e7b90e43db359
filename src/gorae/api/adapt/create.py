"""`POST /containers/create` and `POST /containers/{id}/exec` → the engine's wishes, and warnings where it has no word for one."""

from __future__ import annotations

from typing import Any

import msgspec

from gorae.engine.container import model
from gorae.errors import InvalidArgument
from gorae.wire import hostconfig
from gorae.wire.config import CreateRequest
from gorae.wire.exec import ExecCreateRequest
from gorae.wire.hostconfig import HostConfig, is_default
from gorae.wire.versions import Version

# Fields of Docker's that no word of the engine stands for. At their default they say nothing; otherwise each becomes a warning.
# (What the engine knows but does not honour yet, it warns about itself.)
UNHEEDED_CONFIG = {"args_escaped": "ArgsEscaped", "on_build": "OnBuild"}
UNHEEDED_HOST = {
    "cpu_count": "CpuCount",
    "cpu_percent": "CpuPercent",
    "io_maximum_iops": "IOMaximumIOps",
    "io_maximum_bandwidth": "IOMaximumBandwidth",
    "kernel_memory": "KernelMemory",
    "kernel_memory_tcp": "KernelMemoryTCP",
    "cgroup": "Cgroup",
    "isolation": "Isolation",
}
# HostConfig.ContainerIDFile says nothing to an engine: the client writes that file.


def container_config(request: CreateRequest, version: Version) -> model.ContainerConfig:
    """A wish, from three parts. (A test goes through all fields of both shapes to see that none is forgotten.)"""
    return model.ContainerConfig(**_portable(request), **_isolation(request.host_config), **_surroundings(request, version))


def resources(given: hostconfig.Resources) -> model.Resources:
    return model.Resources(
        memory=given.memory,
        memory_swap=given.memory_swap,
        memory_reservation=given.memory_reservation,
        memory_swappiness=None if given.memory_swappiness == -1 else given.memory_swappiness,
        nano_cpus=given.nano_cpus,
        cpu_shares=given.cpu_shares,
        cpu_period=given.cpu_period,
        cpu_quota=given.cpu_quota,
        cpu_realtime_period=given.cpu_realtime_period,
        cpu_realtime_runtime=given.cpu_realtime_runtime,
        cpuset_cpus=given.cpuset_cpus,
        cpuset_mems=given.cpuset_mems,
        pids_limit=given.pids_limit,
        blkio_weight=given.blkio_weight,
        blkio_weight_device=tuple(
            model.ThrottleDevice(path=item.path, rate=item.weight) for item in given.blkio_weight_device or ()
        ),
        blkio_device_read_bps=_throttles(given.blkio_device_read_bps),
        blkio_device_write_bps=_throttles(given.blkio_device_write_bps),
        blkio_device_read_iops=_throttles(given.blkio_device_read_iops),
        blkio_device_write_iops=_throttles(given.blkio_device_write_iops),
        oom_kill_disable=bool(given.oom_kill_disable),
        ulimits=tuple(model.Ulimit(name=item.name, soft=item.soft, hard=item.hard) for item in given.ulimits or ()),
    )


def restart_policy(given: hostconfig.RestartPolicy) -> model.RestartPolicy:
    return model.RestartPolicy(name=given.name or "no", maximum_retry_count=given.maximum_retry_count)


def unheeded(request: CreateRequest) -> list[str]:
    """A warning for every field that says something to which the engine has no ear."""
    found = [name for field, name in UNHEEDED_CONFIG.items() if not is_default(getattr(request, field))]
    host = request.host_config
    found += [f"HostConfig.{name}" for field, name in UNHEEDED_HOST.items() if not is_default(getattr(host, field))]
    if host.isolation == "default":
        found.remove("HostConfig.Isolation")
    for index, mount in enumerate(host.mounts or ()):
        if mount.image_options is not None and not is_default(mount.image_options):
            found.append(f"HostConfig.Mounts[{index}].ImageOptions")
        if mount.cluster_options is not None:
            found.append(f"HostConfig.Mounts[{index}].ClusterOptions")
    return [f"{name} is not supported by gorae and has no effect" for name in found]


def unheeded_update(request: hostconfig.UpdateRequest) -> list[str]:
    """The same for an update, which also cannot change devices, ulimits and the cgroup's place of a container that is there."""
    fields = UNHEEDED_HOST | {
        "cgroup_parent": "CgroupParent", "devices": "Devices", "device_cgroup_rules": "DeviceCgroupRules",
        "device_requests": "DeviceRequests", "ulimits": "Ulimits",
    }  # fmt: skip
    found = [name for field, name in fields.items() if not is_default(getattr(request, field, None))]
    return [f"{name} cannot be updated and has no effect" for name in found]


def exec_config(request: ExecCreateRequest) -> model.ExecConfig:
    if not request.cmd:
        raise InvalidArgument("no exec command specified")
    return model.ExecConfig(
        command=tuple(request.cmd),
        environment=_tuple(request.env),
        working_directory=request.working_dir,
        user=request.user,
        tty=request.tty,
        privileged=request.privileged,
        attach_stdin=request.attach_stdin,
        attach_stdout=request.attach_stdout,
        attach_stderr=request.attach_stderr,
        detach_keys=request.detach_keys,
        console_size=console_size(request.console_size) if request.tty else (0, 0),
    )


def console_size(given: list[int] | None) -> tuple[int, int]:
    """[height, width]; absent: (0, 0)."""
    if not given:
        return (0, 0)
    if len(given) != 2 or not all(0 <= side <= 65535 for side in given):
        raise InvalidArgument(f"invalid ConsoleSize {given}: expected [height, width], each at most 65535")
    return (given[0], given[1])


def _portable(request: CreateRequest) -> dict[str, Any]:
    """What is the same on every machine."""
    return {
        "image": request.image,
        "command": _words(request.cmd),
        "entrypoint": _words(request.entrypoint),
        "environment": _tuple(request.env),
        "working_directory": request.working_dir,
        "user": request.user,
        "hostname": request.hostname,
        "domainname": request.domainname,
        "labels": request.labels or {},
        "tty": request.tty,
        "open_stdin": request.open_stdin,
        "stdin_once": request.stdin_once,
        "attach_stdin": request.attach_stdin,
        "attach_stdout": request.attach_stdout,
        "attach_stderr": request.attach_stderr,
        "stop_signal": request.stop_signal,
        "stop_timeout": request.stop_timeout,
        "exposed_ports": tuple(request.exposed_ports or ()),
        "volumes": tuple(request.volumes or ()),
        "healthcheck": _plain(request.healthcheck),
        "shell": _words(request.shell),
        "network_disabled": request.network_disabled,
    }


def _isolation(host: HostConfig) -> dict[str, Any]:
    """What keeps it apart from the machine and from others."""
    return {
        "read_only": host.readonly_rootfs,
        "cap_add": _tuple(host.cap_add),
        "cap_drop": _tuple(host.cap_drop),
        "privileged": host.privileged,
        "security_opt": _tuple(host.security_opt),
        "resources": resources(host),
        "oom_score_adj": host.oom_score_adj,
        "cgroup_parent": host.cgroup_parent,
        "network_mode": host.network_mode or "default",
        "pid_mode": host.pid_mode,
        "ipc_mode": host.ipc_mode,
        "uts_mode": host.uts_mode,
        "cgroupns_mode": host.cgroupns_mode,
        "userns_mode": host.userns_mode,
        "group_add": _tuple(host.group_add),
        "devices": tuple(_device(device) for device in host.devices or ()),
        "device_cgroup_rules": _tuple(host.device_cgroup_rules),
        "device_requests": tuple(_plain(item) for item in host.device_requests or ()),
        "sysctls": host.sysctls or {},
        "masked_paths": None if host.masked_paths is None else tuple(host.masked_paths),
        "readonly_paths": None if host.readonly_paths is None else tuple(host.readonly_paths),
        "runtime": host.runtime,
    }


def _surroundings(request: CreateRequest, version: Version) -> dict[str, Any]:
    """What the machine adds: files, names, logs, its life."""
    host = request.host_config
    return {
        "binds": _tuple(host.binds),
        "mounts": tuple(_mount(mount, version) for mount in host.mounts or ()),
        "tmpfs": host.tmpfs or {},
        "volumes_from": _tuple(host.volumes_from),
        "volume_driver": host.volume_driver,
        "init": host.init,
        "auto_remove": host.auto_remove,
        "restart_policy": restart_policy(host.restart_policy),
        "log": model.LogConfig(driver=host.log_config.type, options=host.log_config.config or {}),
        "shm_size": host.shm_size,
        "extra_hosts": _tuple(host.extra_hosts),
        "dns": _tuple(host.dns),
        "dns_options": _tuple(host.dns_options),
        "dns_search": _tuple(host.dns_search),
        "links": _tuple(host.links),
        "port_bindings": _plain(host.port_bindings) or {},
        "publish_all_ports": host.publish_all_ports,
        "networks": _networks(request),
        "storage_options": host.storage_opt or {},
        "annotations": host.annotations or {},
        "console_size": console_size(host.console_size),
    }


def _networks(request: CreateRequest) -> dict[str, Any]:
    """The MAC address of the whole container, as it was before API 1.44, is that of its first network's end."""
    found: dict[str, Any] = _plain(request.networking_config.endpoints_config) or {}
    if request.mac_address:
        mode = request.host_config.network_mode or "default"
        name = next((name for name in (mode, "bridge", "default") if name in found), mode)
        settings = found.get(name) or {}
        found[name] = settings | {"MacAddress": settings.get("MacAddress") or request.mac_address}
    return found


def _mount(given: hostconfig.Mount, version: Version) -> model.Mount:
    bind = given.bind_options or hostconfig.BindOptions()
    volume = given.volume_options or hostconfig.VolumeOptions()
    driver = volume.driver_config or hostconfig.DriverConfig()
    tmpfs = given.tmpfs_options or hostconfig.TmpfsOptions()
    # Before API 1.44 every read-only mount was read-only at its top alone.
    flat = version < (1, 44) and given.type == "bind" and given.read_only
    return model.Mount(
        type=given.type,
        target=given.target,
        source=given.source,
        read_only=given.read_only,
        consistency=given.consistency,
        propagation=bind.propagation,
        non_recursive=bind.non_recursive,
        create_mountpoint=bind.create_mountpoint,
        read_only_non_recursive=bind.read_only_non_recursive or flat,
        read_only_force_recursive=bind.read_only_force_recursive,
        tmpfs_size=tmpfs.size_bytes,
        tmpfs_mode=tmpfs.mode,
        tmpfs_options=tuple(tuple(option) for option in tmpfs.options or ()),
        volume_no_copy=volume.no_copy,
        volume_labels=volume.labels or {},
        volume_driver=driver.name,
        volume_driver_options=driver.options or {},
        volume_subpath=volume.subpath,
    )


def _device(given: hostconfig.DeviceMapping) -> model.Device:
    return model.Device(
        path_on_host=given.path_on_host,
        path_in_container=given.path_in_container,
        cgroup_permissions=given.cgroup_permissions or "rwm",
    )


def _throttles(given: list[hostconfig.ThrottleDevice] | None) -> tuple[model.ThrottleDevice, ...]:
    return tuple(model.ThrottleDevice(path=item.path, rate=item.rate) for item in given or ())


def _words(given: list[str] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(given)


def _tuple(given: list[str] | None) -> tuple[str, ...]:
    return tuple(given or ())


def _plain(value: object) -> Any:
    """Docker's own shape as plain data, which the engine keeps for inspect."""
    return msgspec.to_builtins(value)
