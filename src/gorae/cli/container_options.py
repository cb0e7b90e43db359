"""The flags of `run` and `create`, in Docker's names. What they mean is in `container_config`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Function = Callable[..., Any]


def text(*names: str, help: str, metavar: str = "TEXT") -> Function:
    return click.option(*names, default="", metavar=metavar, help=help)


def many(*names: str, help: str, metavar: str = "TEXT") -> Function:
    return click.option(*names, multiple=True, metavar=metavar, help=help)


def number(*names: str, help: str, default: int | None = None) -> Function:
    return click.option(*names, type=int, default=default, help=help)


def flag(*names: str, help: str) -> Function:
    return click.option(*names, is_flag=True, help=help)


OPTIONS = (
    flag("-i", "--interactive", help="Keep stdin open."),
    flag("-t", "--tty", help="Give it a terminal."),
    many("-a", "--attach", metavar="STREAM", help="Attach to stdin, stdout or stderr."),
    text("--name", metavar="NAME", help="A name for the container."),
    text("--entrypoint", metavar="COMMAND", help="Replace the image's entrypoint."),
    many("-e", "--env", metavar="NAME[=VALUE]", help="Set an environment variable."),
    many("--env-file", metavar="FILE", help="Read environment variables from a file."),
    text("-w", "--workdir", metavar="PATH", help="Working directory inside."),
    text("-u", "--user", metavar="USER[:GROUP]", help="User by name or number."),
    many("--group-add", metavar="GROUP", help="Further groups."),
    many("-v", "--volume", metavar="[HOST:]CONTAINER[:ro]", help="Bind a host path."),
    many("--mount", metavar="type=…,target=…", help="A mount, key by key."),
    many("--tmpfs", metavar="PATH[:OPTIONS]", help="A file system in memory."),
    flag("--read-only", help="Make the root file system read-only."),
    many("--cap-add", metavar="CAPABILITY", help="Add a capability."),
    many("--cap-drop", metavar="CAPABILITY", help="Drop a capability."),
    flag("--privileged", help="All capabilities and devices that the daemon itself has."),
    many("--security-opt", metavar="OPTION", help="no-new-privileges, seccomp=FILE|unconfined, …"),
    many("--device", metavar="HOST[:CONTAINER][:rwm]", help="Give it a device of the host."),
    many("--device-cgroup-rule", metavar="RULE", help="A rule for the device list."),
    many("--sysctl", metavar="NAME=VALUE", help="A kernel parameter of its namespaces."),
    many("--ulimit", metavar="NAME=SOFT[:HARD]", help="A resource limit."),
    text("-m", "--memory", metavar="SIZE", help="Memory limit, such as 512m."),
    text("--memory-swap", metavar="SIZE", help="Memory plus swap; -1 for unlimited."),
    text("--memory-reservation", metavar="SIZE", help="Soft memory limit."),
    number("--memory-swappiness", help="0 to 100."),
    flag("--oom-kill-disable", help="Do not kill it when memory runs out."),
    number("--oom-score-adj", default=0, help="-1000 to 1000."),
    text("--cpus", metavar="NUMBER", help="How many CPUs, such as 1.5."),
    number("-c", "--cpu-shares", default=0, help="Relative CPU weight."),
    number("--cpu-period", default=0, help="CFS period in microseconds."),
    number("--cpu-quota", default=0, help="CFS quota in microseconds."),
    text("--cpuset-cpus", metavar="CPUS", help="Which CPUs, such as 0-3 or 0,1."),
    text("--cpuset-mems", metavar="NODES", help="Which memory nodes."),
    number("--blkio-weight", default=0, help="Relative disk weight, 10 to 1000."),
    many("--blkio-weight-device", metavar="DEVICE:WEIGHT", help="Relative weight on one disk."),
    many("--device-read-bps", metavar="DEVICE:RATE", help="How many bytes a second may be read, such as /dev/sda:1mb."),
    many("--device-write-bps", metavar="DEVICE:RATE", help="How many may be written."),
    many("--device-read-iops", metavar="DEVICE:NUMBER", help="How many reads a second."),
    many("--device-write-iops", metavar="DEVICE:NUMBER", help="How many writes."),
    number("--cpu-rt-period", default=0, help="Real-time period in microseconds."),
    number("--cpu-rt-runtime", default=0, help="Real-time run time in microseconds."),
    many("--volumes-from", metavar="CONTAINER[:ro]", help="The mounts of another container."),
    many("--storage-opt", metavar="NAME=VALUE", help="An option of the storage driver."),
    number("--pids-limit", help="How many processes; -1 for unlimited."),
    text("--shm-size", metavar="SIZE", help="Size of /dev/shm."),
    text("-h", "--hostname", metavar="NAME", help="Host name inside."),
    text("--domainname", metavar="NAME", help="NIS domain name inside."),
    many("--network", "--net", metavar="NETWORK|none|host|container:ID", help="A network; the first is the main one."),
    many("-p", "--publish", metavar="[ADDRESS:][HOST:]PORT", help="Reach a port of it from outside."),
    flag("-P", "--publish-all", help="Publish all exposed ports, each where there is room."),
    many("--expose", metavar="PORT", help="A port that it listens on."),
    text("--ip", metavar="ADDRESS", help="Its IPv4 address in the main network."),
    text("--ip6", metavar="ADDRESS", help="Its IPv6 address in the main network."),
    text("--mac-address", metavar="MAC", help="Its MAC address in the main network."),
    many("--network-alias", "--net-alias", metavar="NAME", help="Another name for it in the main network."),
    many("--link", metavar="CONTAINER[:ALIAS]", help="A name of its own for another container."),
    many("--add-host", metavar="NAME:ADDRESS", help="A line for /etc/hosts."),
    many("--dns", metavar="ADDRESS", help="A name server."),
    many("--dns-search", metavar="DOMAIN", help="A search domain."),
    many("--dns-option", metavar="OPTION", help="A resolver option."),
    text("--pid", metavar="host|container:ID", help="PID namespace."),
    text("--ipc", metavar="MODE", help="IPC namespace."),
    text("--uts", metavar="host", help="UTS namespace."),
    text("--cgroupns", metavar="host|private", help="cgroup namespace."),
    text("--userns", metavar="host", help="User namespace."),
    text("--cgroup-parent", metavar="PATH", help="The cgroup to put it into."),
    click.option("--init/--no-init", default=None, help="Stay as PID 1: reap and forward signals."),
    text("--stop-signal", metavar="SIGNAL", help="The signal that `stop` sends."),
    number("--stop-timeout", help="Seconds that `stop` waits before it kills."),
    text("--health-cmd", metavar="COMMAND", help="Run this to see whether it is well."),
    text("--health-interval", metavar="TIME", help="How often (30s)."),
    text("--health-timeout", metavar="TIME", help="How long it may take (30s)."),
    number("--health-retries", default=0, help="How many failures in a row make it unhealthy (3)."),
    text("--health-start-period", metavar="TIME", help="How long failures do not count after the start (0s)."),
    text("--health-start-interval", metavar="TIME", help="How often within that (5s)."),
    flag("--no-healthcheck", help="Run no health check, not the image's either."),
    text("--restart", metavar="POLICY", help="no, on-failure[:n], on-unhealthy[:n], always, unless-stopped."),
    many("-l", "--label", metavar="NAME=VALUE", help="A label."),
    many("--label-file", metavar="FILE", help="Read labels from a file."),
    many("--annotation", metavar="NAME=VALUE", help="An annotation for the OCI runtime."),
    text("--log-driver", metavar="DRIVER", help="local, json-file, syslog, journald, none."),
    many("--log-opt", metavar="NAME=VALUE", help="An option of the log driver."),
    text("--runtime", metavar="NAME", help="The OCI runtime."),
    text("--platform", metavar="OS/ARCH", help="The image's platform."),
    text("--cidfile", metavar="FILE", help="Write the container's id to a file."),
)


def container_options(function: Function) -> Function:
    for option in reversed(OPTIONS):
        function = option(function)
    return function
