"""What is refused before anything is made. Pure; every refusal names the field of config.json.

The engine checks its own users' wishes; this is the last line, for whoever hands us a bundle (CVE-2022-0811: sysctls with a "+").
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gorae.errors import InvalidArgument, Unsupported
from gorae.linux import capability, process
from gorae.runtime import identity, sysctl
from gorae.runtime.options import parse

if TYPE_CHECKING:
    from gorae.oci.runtimespec import Mount, Process, Spec
    from gorae.runtime.terms import Context

VERSION = re.compile(r"1\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
SYSCTL = re.compile(r"[A-Za-z0-9_.\-/*]+")
CLOCKS = ("monotonic", "boottime")


def check(spec: Spec, context: Context) -> None:
    if not VERSION.fullmatch(spec.ociVersion):
        raise InvalidArgument(f"ociVersion {spec.ociVersion!a}: this runtime knows versions 1.x.y")
    if spec.root is None or not spec.root.path:
        raise InvalidArgument("root.path is required: the directory that becomes /")
    if spec.process is None and context.barrier is None:
        raise InvalidArgument("process is required: what is to be started")
    if spec.process is not None:
        check_process(spec.process)
    for entry in spec.mounts:
        _check_mount(entry)
    if context.user is not None:
        identity.split(context.user)
    for group in context.groups:
        identity.split(f":{group}")
    _check_namespaces(spec)
    _check_sysctls(spec)
    _check_paths(spec)


def check_process(given: Process) -> None:
    if not given.args:
        raise InvalidArgument("process.args must hold at least the program")
    if not given.args[0]:
        raise InvalidArgument("process.args[0] is empty: name the program to run")
    if not given.cwd.startswith("/"):
        raise InvalidArgument(f"process.cwd {given.cwd!a} must be an absolute path")
    for each in (*given.args, *given.env, given.cwd):
        if "\0" in each:
            raise InvalidArgument(f"process: {each!a} contains a NUL character")
    for each in given.env:
        name = each.partition("=")[0]
        if not name or "=" not in each or any(ord(letter) < 32 for letter in name):
            raise InvalidArgument(f"process.env {each!a} must be NAME=value")
    seen = set()
    for limit in given.rlimits:
        if limit.type not in process.RLIMITS:
            raise InvalidArgument(f"process.rlimits: {limit.type!a} is no resource limit")
        if limit.type in seen:
            raise InvalidArgument(f"process.rlimits: {limit.type} is given twice")
        if limit.soft > limit.hard:
            raise InvalidArgument(
                f"process.rlimits: the soft limit of {limit.type} ({limit.soft}) exceeds the hard limit ({limit.hard})"
            )
        seen.add(limit.type)
    if given.oomScoreAdj is not None and not -1000 <= given.oomScoreAdj <= 1000:
        raise InvalidArgument(f"process.oomScoreAdj {given.oomScoreAdj} must be between -1000 and 1000")
    if given.selinuxLabel:
        raise Unsupported("process.selinuxLabel: SELinux is not supported; leave the label out (--security-opt label=disable)")


def _check_mount(entry: Mount) -> None:
    if not entry.destination.startswith("/"):
        raise InvalidArgument(f"mounts: destination {entry.destination!a} must be an absolute path")
    if "\0" in entry.destination + (entry.source or "") + "".join(entry.options):
        raise InvalidArgument(f"mounts: {entry.destination!a} contains a NUL character")
    options = parse(entry.options)
    if options.idmap or entry.uidMappings or entry.gidMappings:
        raise Unsupported(f"mounts: {entry.destination}: id-mapped mounts are not supported")
    binds = entry.type == "bind" or options.bind
    if binds and not entry.source:
        raise InvalidArgument(f"mounts: {entry.destination}: a bind mount needs a source")
    if binds and not (entry.source or "").startswith("/"):
        raise InvalidArgument(f"mounts: {entry.destination}: source {entry.source!a} must be an absolute path")
    if options.copy_up and entry.type != "tmpfs":
        raise InvalidArgument(f"mounts: {entry.destination}: tmpcopyup is for tmpfs only")


def _check_namespaces(spec: Spec) -> None:
    linux = spec.linux
    kinds = [each.type for each in (linux.namespaces if linux else ())]
    twice = sorted({kind for kind in kinds if kinds.count(kind) > 1})
    if twice:
        raise InvalidArgument(f"linux.namespaces: {twice[0]} is given twice")
    if "mount" not in kinds:
        raise Unsupported("linux.namespaces: a container without a mount namespace of its own is not supported")
    made = {each.type for each in (linux.namespaces if linux else ()) if not each.path}
    if "mount" not in made:
        raise Unsupported("linux.namespaces: a mount namespace cannot be joined; leave its path out")
    if linux is None:
        return
    for each in linux.namespaces:
        if each.path and not each.path.startswith("/"):
            raise InvalidArgument(f"linux.namespaces: path {each.path!a} must be absolute")
    if "user" in made and not (linux.uidMappings and linux.gidMappings):
        raise InvalidArgument("linux.uidMappings and gidMappings are required with a new user namespace")
    if "user" not in kinds and (linux.uidMappings or linux.gidMappings):
        raise InvalidArgument("linux.uidMappings needs a user namespace in linux.namespaces")
    if (spec.hostname or spec.domainname) and "uts" not in made:
        raise InvalidArgument("hostname and domainname need a new uts namespace in linux.namespaces: they would rename the machine")
    if linux.timeOffsets and "time" not in made:
        raise InvalidArgument("linux.timeOffsets needs a new time namespace in linux.namespaces")
    if wrong := sorted(set(linux.timeOffsets) - set(CLOCKS)):
        raise InvalidArgument(f"linux.timeOffsets: {wrong[0]!a} is not one of {', '.join(CLOCKS)}")


def _check_sysctls(spec: Spec) -> None:
    linux = spec.linux
    if linux is None:
        return
    spaces = {each.type for each in linux.namespaces}
    for name, value in linux.sysctl.items():
        if (
            not SYSCTL.fullmatch(name)
            or ".." in name
            or "//" in name
            or any(ord(letter) < 32 and letter != "\t" for letter in value)
        ):
            raise InvalidArgument(f"linux.sysctl: {name!a} is no kernel parameter")
        needed = sysctl.namespace_of(sysctl.dotted(name))
        if needed is None:
            raise InvalidArgument(f"linux.sysctl: {name} is not in a namespace: it would change the whole machine")
        if needed not in spaces:
            raise InvalidArgument(f"linux.sysctl: {name} needs a {needed} namespace of the container's own")


def _check_paths(spec: Spec) -> None:
    linux = spec.linux
    if linux is None:
        return
    for field, paths in (("maskedPaths", linux.maskedPaths), ("readonlyPaths", linux.readonlyPaths)):
        for path in paths:
            if not path.startswith("/") or "\0" in path:
                raise InvalidArgument(f"linux.{field}: {path!a} must be an absolute path")
    for device in linux.devices:
        if not device.path.startswith("/") or "\0" in device.path or device.path.endswith("/"):
            raise InvalidArgument(f"linux.devices: path {device.path!a} must be absolute")
        if device.type != "p" and (device.major is None or device.minor is None):
            raise InvalidArgument(f"linux.devices: {device.path} needs major and minor")
    if linux.mountLabel:
        raise Unsupported("linux.mountLabel: SELinux is not supported; leave the label out")
    if linux.intelRdt is not None:
        raise Unsupported("linux.intelRdt is not supported")
    if linux.personality is not None and linux.personality.flags:
        raise InvalidArgument("linux.personality.flags: none are defined")


def warnings(spec: Spec) -> tuple[str, ...]:
    """What the specification says must be warned of and not refused: capabilities that nobody knows."""
    sets = spec.process.capabilities if spec.process else None
    if sets is None:
        return ()
    named = {*sets.bounding, *sets.effective, *sets.inheritable, *sets.permitted, *sets.ambient}
    unknown = sorted(named - capability.NAMES.keys())
    return (f"unknown capabilities are left out: {' '.join(unknown)}",) if unknown else ()
