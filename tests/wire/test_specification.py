"""The fields of our shapes against the names that API 1.56 has: written down from its specification, so that none can get lost."""

from __future__ import annotations

import msgspec
import pytest

from gorae.wire import auth, config, container, event, exec, hostconfig, image, network, system

NAMES: dict[type[msgspec.Struct], str] = {
    hostconfig.Resources: """CpuShares Memory CgroupParent BlkioWeight BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps
        BlkioDeviceReadIOps BlkioDeviceWriteIOps CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime
        CpusetCpus CpusetMems Devices DeviceCgroupRules DeviceRequests MemoryReservation MemorySwap
        MemorySwappiness NanoCpus OomKillDisable PidsLimit Ulimits CpuCount CpuPercent IOMaximumIOps
        IOMaximumBandwidth""",
    hostconfig.HostConfig: """Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver
        VolumesFrom Mounts ConsoleSize Annotations CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch
        ExtraHosts GroupAdd IpcMode Cgroup Links OomScoreAdj PidMode Privileged PublishAllPorts
        ReadonlyRootfs SecurityOpt StorageOpt Tmpfs UTSMode UsernsMode ShmSize Sysctls Runtime Isolation
        MaskedPaths ReadonlyPaths Init""",
    config.Config: """Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty OpenStdin StdinOnce Env
        Cmd Healthcheck ArgsEscaped Image Volumes WorkingDir Entrypoint NetworkDisabled OnBuild Labels StopSignal
        StopTimeout Shell""",
    config.HealthConfig: "Test Interval Timeout Retries StartPeriod StartInterval",
    config.CreateRequest: "HostConfig NetworkingConfig",
    hostconfig.Mount: "Target Source Type ReadOnly Consistency BindOptions VolumeOptions ImageOptions TmpfsOptions",
    hostconfig.BindOptions: "Propagation NonRecursive CreateMountpoint ReadOnlyNonRecursive ReadOnlyForceRecursive",
    hostconfig.VolumeOptions: "NoCopy Labels DriverConfig Subpath",
    hostconfig.TmpfsOptions: "SizeBytes Mode Options",
    hostconfig.DeviceMapping: "PathOnHost PathInContainer CgroupPermissions",
    hostconfig.DeviceRequest: "Driver Count DeviceIDs Capabilities Options",
    network.EndpointSettings: """IPAMConfig Links MacAddress Aliases DriverOpts GwPriority NetworkID EndpointID Gateway
        IPAddress IPPrefixLen IPv6Gateway GlobalIPv6Address GlobalIPv6PrefixLen DNSNames""",
    network.EndpointIpamConfig: "IPv4Address IPv6Address LinkLocalIPs",
    network.Network: """Name Id Created Scope Driver EnableIPv4 EnableIPv6 IPAM Internal Attachable Ingress ConfigFrom
        ConfigOnly Options Labels Containers""",
    network.NetworkSettings: "SandboxID SandboxKey Ports Networks",
    container.Inspect: """Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount
        Driver Platform MountLabel ProcessLabel AppArmorProfile ExecIDs HostConfig GraphDriver Storage SizeRw
        SizeRootFs Mounts Config NetworkSettings""",
    container.State: "Status Running Paused Restarting OOMKilled Dead Pid ExitCode Error StartedAt FinishedAt Health",
    container.Summary: """Id Names Image ImageID Command Created Ports SizeRw SizeRootFs Labels State Status HostConfig
        NetworkSettings Mounts Health""",
    container.MountPoint: "Type Name Source Destination Driver Mode RW Propagation",
    container.WaitResponse: "StatusCode Error",
    container.CreateResponse: "Id Warnings",
    exec.ExecCreateRequest: """AttachStdin AttachStdout AttachStderr ConsoleSize DetachKeys Tty Env Cmd Privileged User
        WorkingDir""",
    exec.ExecStartRequest: "Detach Tty ConsoleSize",
    exec.ExecInspect: "CanRemove DetachKeys ID Running ExitCode ProcessConfig OpenStdin OpenStderr OpenStdout ContainerID Pid",
    image.ImageSummary: "Id ParentId RepoTags RepoDigests Created Size SharedSize Labels Containers Descriptor",
    image.ImageInspect: """Id Descriptor RepoTags RepoDigests Comment Created Author Config Architecture Variant Os OsVersion
        Size GraphDriver RootFS Metadata""",
    image.HistoryItem: "Id Created CreatedBy Tags Size Comment",
    system.Version: """Platform Components Version ApiVersion MinAPIVersion GitCommit GoVersion Os Arch KernelVersion
        Experimental BuildTime""",
    system.Info: """ID Containers ContainersRunning ContainersPaused ContainersStopped Images Driver DriverStatus DockerRootDir
        Plugins MemoryLimit SwapLimit CpuCfsPeriod CpuCfsQuota CPUShares CPUSet PidsLimit OomKillDisable
        IPv4Forwarding Debug NFd NGoroutines SystemTime LoggingDriver CgroupDriver CgroupVersion NEventsListener
        KernelVersion OperatingSystem OSVersion OSType Architecture NCPU MemTotal IndexServerAddress RegistryConfig
        GenericResources HttpProxy HttpsProxy NoProxy Name Labels ExperimentalBuild ServerVersion Runtimes
        DefaultRuntime Swarm LiveRestoreEnabled Isolation InitBinary ContainerdCommit RuncCommit InitCommit
        SecurityOptions ProductLicense CDISpecDirs Warnings""",
    event.Event: "Type Action Actor scope time timeNano",
    event.Actor: "ID Attributes",
    auth.AuthConfig: "username password serveraddress",
}


@pytest.mark.parametrize("shape", list(NAMES), ids=lambda shape: shape.__name__)
def test_fields_have_dockers_names(shape: type[msgspec.Struct]) -> None:
    have = {field.encode_name for field in msgspec.structs.fields(shape)}
    assert set(NAMES[shape].split()) <= have


@pytest.mark.parametrize("shape", list(NAMES), ids=lambda shape: shape.__name__)
def test_no_two_names_differ_by_case_alone(shape: type[msgspec.Struct]) -> None:
    """The decoder matches in any case, so they would be one."""
    names = [field.encode_name.lower() for field in msgspec.structs.fields(shape)]
    assert len(names) == len(set(names))
