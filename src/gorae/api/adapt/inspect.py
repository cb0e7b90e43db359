"""The engine's containers and execs → `GET /containers/{id}/json`, `GET /exec/{id}/json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from gorae.api.adapt import network
from gorae.api.adapt.moment import fixed_rfc3339, rfc3339
from gorae.engine.config import Config as EngineConfig
from gorae.engine.container import model
from gorae.engine.image.model import HealthCheck
from gorae.engine.networks import Joined
from gorae.wire import codec, container, exec, hostconfig
from gorae.wire.config import Config, HealthConfig
from gorae.wire.hostconfig import HostConfig
from gorae.wire.versions import Version

STORAGE_DRIVER = "overlay"


def inspect(
    value: model.Container, joined: Sequence[Joined], engine: EngineConfig, version: Version
) -> container.Inspect:
    return container.Inspect(
        id=value.id,
        created=rfc3339(value.created_at),
        path=value.path,
        args=list(value.arguments),
        state=state(value.state),
        image=value.image_id,
        resolv_conf_path=value.resolv_conf_path,
        hostname_path=value.hostname_path,
        hosts_path=value.hosts_path,
        log_path=value.log_path,
        name=f"/{value.name}",
        restart_count=value.restart_count,
        driver=STORAGE_DRIVER,
        platform="linux",
        mount_label="",
        process_label="",
        app_armor_profile="",
        exec_ids=list(value.exec_ids) or None,
        host_config=host_config(value, engine),
        graph_driver=container.GraphDriver(name=STORAGE_DRIVER) if version < (1, 52) else UNSET,
        storage=UNSET
        if version < (1, 52)
        else container.Storage(root_fs=container.RootStorage(snapshot=container.SnapshotStorage(name=STORAGE_DRIVER))),
        size_rw=UNSET if value.size_rw is None else value.size_rw,
        size_root_fs=UNSET if value.size_root is None else value.size_root,
        mounts=[mount_point(item) for item in value.mounts],
        config=_config(value),
        network_settings=network.settings(joined, value.exposed_ports, version),
    )


def state(value: model.State) -> container.State:
    return container.State(
        status=value.status,
        running=value.running,
        paused=value.status == "paused",
        restarting=value.status == "restarting",
        oom_killed=value.oom_killed,
        dead=value.status == "dead",
        pid=value.pid,
        exit_code=value.exit_code,
        error=value.error,
        started_at=rfc3339(value.started_at),
        finished_at=rfc3339(value.finished_at),
        health=UNSET if value.health is None else health(value.health),
    )


def health(value: model.Health) -> container.Health:
    log = [
        container.HealthcheckResult(
            start=fixed_rfc3339(probe.start), end=fixed_rfc3339(probe.end), exit_code=probe.exit_code, output=probe.output
        )
        for probe in value.log
    ]
    return container.Health(status=value.status, failing_streak=value.failing_streak, log=log)


def mount_point(value: model.MountPoint) -> container.MountPoint:
    return container.MountPoint(
        type=value.type,
        name=value.name or UNSET,
        source=value.source,
        destination=value.destination,
        driver=value.driver or UNSET,
        mode=value.mode,
        rw=value.read_write,
        propagation=value.propagation,
    )


def _config(value: model.Container) -> Config:
    """The wish and the image, merged."""
    wish = value.config
    empty = codec.Empty()
    return Config(
        hostname=value.hostname,
        domainname=wish.domainname,
        user=value.user,
        attach_stdin=wish.attach_stdin,
        attach_stdout=wish.attach_stdout,
        attach_stderr=wish.attach_stderr,
        exposed_ports=dict.fromkeys(value.exposed_ports, empty) or None,
        tty=wish.tty,
        open_stdin=wish.open_stdin,
        stdin_once=wish.stdin_once,
        env=list(value.environment),
        cmd=_list(value.command),
        healthcheck=_health_config(value.healthcheck),
        image=wish.image,
        volumes=dict.fromkeys(value.volumes, empty) or None,
        working_dir=value.working_directory,
        entrypoint=_list(value.entrypoint),
        network_disabled=wish.network_disabled,
        labels=value.labels,
        stop_signal=value.stop_signal,
        stop_timeout=value.stop_timeout,
        shell=_list(wish.shell),
    )


def _health_config(value: HealthCheck | None) -> HealthConfig | None:
    if value is None:
        return None
    return HealthConfig(
        test=list(value.test),
        interval=value.interval,
        timeout=value.timeout,
        start_period=value.start_period,
        start_interval=value.start_interval,
        retries=value.retries,
    )


def host_config(value: model.Container, engine: EngineConfig) -> HostConfig:
    """The wish as it was sent, with the daemon's defaults where nothing was said."""
    wish = value.config
    return HostConfig(
        **_resources(wish.resources),
        cgroup_parent=wish.cgroup_parent,
        devices=[_device(item) for item in wish.devices],
        device_cgroup_rules=list(wish.device_cgroup_rules) or None,
        device_requests=[codec.convert(hostconfig.DeviceRequest, item) for item in wish.device_requests] or None,
        binds=list(wish.binds) or None,
        log_config=hostconfig.LogConfig(type=_log_driver(value), config=value.log_options),
        network_mode=wish.network_mode,
        port_bindings=codec.convert(dict[str, list[hostconfig.PortBinding] | None], wish.port_bindings),
        restart_policy=hostconfig.RestartPolicy(
            name=wish.restart_policy.name, maximum_retry_count=wish.restart_policy.maximum_retry_count
        ),
        auto_remove=wish.auto_remove,
        volume_driver=wish.volume_driver,
        volumes_from=list(wish.volumes_from) or None,
        mounts=[_mount(item) for item in wish.mounts] or None,
        console_size=list(wish.console_size),
        annotations=wish.annotations or None,
        cap_add=list(wish.cap_add) or None,
        cap_drop=list(wish.cap_drop) or None,
        cgroupns_mode=wish.cgroupns_mode or engine.default_cgroupns_mode,
        dns=list(wish.dns),
        dns_options=list(wish.dns_options),
        dns_search=list(wish.dns_search),
        extra_hosts=list(wish.extra_hosts) or None,
        group_add=list(wish.group_add) or None,
        ipc_mode=wish.ipc_mode or engine.default_ipc_mode,
        links=list(wish.links) or None,
        oom_score_adj=wish.oom_score_adj,
        pid_mode=wish.pid_mode,
        privileged=wish.privileged,
        publish_all_ports=wish.publish_all_ports,
        readonly_rootfs=wish.read_only,
        security_opt=list(wish.security_opt) or None,
        storage_opt=wish.storage_options or None,
        tmpfs=wish.tmpfs or None,
        uts_mode=wish.uts_mode,
        userns_mode=wish.userns_mode,
        shm_size=wish.shm_size or engine.default_shm_size,
        sysctls=wish.sysctls or None,
        runtime=wish.runtime or engine.default_runtime,
        masked_paths=_list(wish.masked_paths),
        readonly_paths=_list(wish.readonly_paths),
        init=wish.init,
    )


def _log_driver(value: model.Container) -> str:
    """Who asked for none is told Docker's default: docker-py reads the output of `run` back for json-file and journald only."""
    return value.config.log.driver or ("json-file" if value.log_driver == "local" else value.log_driver)


def _resources(given: model.Resources) -> dict[str, Any]:
    return {
        "memory": given.memory,
        "memory_swap": given.memory_swap,
        "memory_reservation": given.memory_reservation,
        "memory_swappiness": given.memory_swappiness,
        "nano_cpus": given.nano_cpus,
        "cpu_shares": given.cpu_shares,
        "cpu_period": given.cpu_period,
        "cpu_quota": given.cpu_quota,
        "cpu_realtime_period": given.cpu_realtime_period,
        "cpu_realtime_runtime": given.cpu_realtime_runtime,
        "cpuset_cpus": given.cpuset_cpus,
        "cpuset_mems": given.cpuset_mems,
        "pids_limit": given.pids_limit,
        "blkio_weight": given.blkio_weight,
        "blkio_weight_device": [hostconfig.WeightDevice(path=item.path, weight=item.rate) for item in given.blkio_weight_device],
        "blkio_device_read_bps": _throttles(given.blkio_device_read_bps),
        "blkio_device_write_bps": _throttles(given.blkio_device_write_bps),
        "blkio_device_read_iops": _throttles(given.blkio_device_read_iops),
        "blkio_device_write_iops": _throttles(given.blkio_device_write_iops),
        "oom_kill_disable": given.oom_kill_disable,
        "ulimits": [hostconfig.Ulimit(name=item.name, soft=item.soft, hard=item.hard) for item in given.ulimits] or None,
    }


def _throttles(given: tuple[model.ThrottleDevice, ...]) -> list[hostconfig.ThrottleDevice] | None:
    return [hostconfig.ThrottleDevice(path=item.path, rate=item.rate) for item in given] or None


def _device(given: model.Device) -> hostconfig.DeviceMapping:
    return hostconfig.DeviceMapping(
        path_on_host=given.path_on_host,
        path_in_container=given.path_in_container or given.path_on_host,
        cgroup_permissions=given.cgroup_permissions,
    )


def _mount(given: model.Mount) -> hostconfig.Mount:
    return hostconfig.Mount(
        type=given.type,
        source=given.source,
        target=given.target,
        read_only=given.read_only,
        consistency=given.consistency,
        bind_options=None
        if given.type != "bind"
        else hostconfig.BindOptions(
            propagation=given.propagation,
            non_recursive=given.non_recursive,
            create_mountpoint=given.create_mountpoint,
            read_only_non_recursive=given.read_only_non_recursive,
            read_only_force_recursive=given.read_only_force_recursive,
        ),
        volume_options=None
        if given.type != "volume"
        else hostconfig.VolumeOptions(
            no_copy=given.volume_no_copy,
            labels=given.volume_labels or None,
            driver_config=hostconfig.DriverConfig(name=given.volume_driver, options=given.volume_driver_options or None),
            subpath=given.volume_subpath,
        ),
        tmpfs_options=None
        if given.type != "tmpfs"
        else hostconfig.TmpfsOptions(
            size_bytes=given.tmpfs_size,
            mode=given.tmpfs_mode,
            options=[list(option) for option in given.tmpfs_options] or None,
        ),
    )


def _list(given: tuple[str, ...] | None) -> list[str] | None:
    return None if given is None else list(given)


def exec_inspect(value: model.Exec) -> exec.ExecInspect:
    return exec.ExecInspect(
        id=value.id,
        running=value.running,
        exit_code=value.exit_code,
        process_config=exec.ProcessConfig(
            tty=value.config.tty,
            entrypoint=value.config.command[0],
            arguments=list(value.config.command[1:]),
            privileged=value.config.privileged,
            user=value.config.user,
        ),
        open_stdin=value.config.attach_stdin,
        open_stderr=value.config.attach_stderr,
        open_stdout=value.config.attach_stdout,
        can_remove=value.can_remove,
        container_id=value.container,
        detach_keys=value.config.detach_keys,
        pid=value.pid,
    )
