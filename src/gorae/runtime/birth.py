"""The kernel story of a container: from an OCI specification to the steps of its birth, in order.

Nothing happens in this file. `plan` decides; `life.bear` does the parent's part, `plain` the child's. Print a plan to read it:
every step says what it is and why, and `gorae run --explain` shows the same list with the time that each step took.

    parent                                              child
    ──────                                              ─────
    before: make cgroups, write limits, open what
            must be opened out here
    detour: into a pid or time namespace
    clone3(flags) ────────────────────────────────────▶ alone: non-dumpable, default signals, own session, no descriptor too many
                                                        walks into its cgroups, and looks that it is there
    beside: write the id maps, adjust it                waits on the report socket, if there is anything to wait for
    one byte "go" ────────────────────────────────────▶ namespaces, then the root file system with all its mounts, relative to a
                                                        descriptor of its root; devices, masks, terminal
    midway: prestart and createRuntime hooks ◀────────▶ "the mounts stand"
                                                        pivot_root: from here on only the image's files are in sight
                                                        who: user and groups from the image's own files
                                                        may: limits, seccomp, bounding set, ids, capabilities
    end of file on the report socket ◀───────────────── execve: the socket is close-on-exec

What is undone afterwards, and by whom: the mounts, namespaces and processes end with PID 1, because nothing was mounted, linked or
started anywhere else; the cgroups are removed by `life.bury`. A birth that fails leaves nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from gorae.oci.runtimespec import Hook, Process, Spec
from gorae.runtime import (
    confine,
    console,
    devices,
    exec,
    hooks,
    identity,
    masks,
    mounts,
    namespaces,
    outside,
    rootfs,
    sysctl,
    validate,
)
from gorae.runtime.terms import Birth as Birth
from gorae.runtime.terms import Context as Context
from gorae.runtime.terms import Living as Living
from gorae.runtime.terms import RootMount as RootMount
from gorae.runtime.terms import Step as Step

NOTHING = Process(cwd="/")


def plan(spec: Spec, context: Context) -> Birth:
    """The birth of a container. Pure. Raises InvalidArgument or Unsupported for what is refused (see `validate`)."""
    validate.check(spec, context)
    process = spec.process or NOTHING
    given = spec.hooks
    wanted = namespaces.wanted(spec)
    mapped = "user" in wanted
    limits, warnings = outside.make_cgroup(spec, context)
    midway = (*hooks.plan((*given.prestart, *given.createRuntime), spec, context, "creating", "createRuntime"),) if given else ()
    beside = (*namespaces.map_ids(spec), *outside.adjust(process))
    wait = (WAIT,) if beside else ()
    return Birth(
        id=context.id,
        before=(
            *limits,
            *outside.open_ways(context),
            *namespaces.find(spec),
            # A user namespace's root may not reach the machine's directories: what comes from there is opened or made by the
            # parent.
            *(rootfs.prepare(spec, context) if mapped else ()),
            *(mounts.prepare(spec) if mapped else ()),
        ),
        detour=(*namespaces.detour(spec),),
        flags=namespaces.flags(spec),
        beside=beside,
        child=(
            *alone(),
            *outside.enter(context),
            # With ids to be mapped nothing works before they are; otherwise parent and child go on side by side for a while.
            *(wait if mapped else ()),
            *namespaces.join(spec),
            *rootfs.enter(spec, context, prepared=mapped),
            *namespaces.take_ids(spec),
            *_names(spec),
            *_keep_from_the_machine(spec, process, context),
            *(() if mapped else wait),
            *namespaces.hide_cgroups(spec),
            *mounts.plan(spec, context, prepared=mapped),
            *devices.plan(spec, bound=mapped),
            *masks.plan(spec),
            *console.plan(process, bind=True),
            Step("make_directory", (process.cwd,), "the working directory is made if the image lacks it"),
            *mounts.finish(spec, context),
            *_hooks_midway(spec, context, ask=bool(midway)),
            *_read_only_root(spec),
            Step("seal_interpreter", (), "the next files in sight are the image's: nothing is imported from there"),
            *rootfs.leave(spec, context),
            *become(process, spec, context, given.startContainer if given else ()),
        ),
        midway=midway,
        after=(*hooks.plan(given.poststart, spec, context, "running", "poststart"),) if given and not context.barrier else (),
        cgroup_layout=context.cgroup_layout,
        warnings=(*warnings, *validate.warnings(spec)),
    )


def plan_exec(process: Process, container: Living, context: Context) -> Birth:
    """The birth of one more process in a running container; of context it takes `id`, `user`, `groups`, `cgroup` and
    `cgroup_layout`.
    """
    validate.check_process(process)
    spec = container.spec
    first, last = outside.affinity(process)
    beside = (*first, *outside.adjust(process))
    return Birth(
        id=context.id,
        before=(*outside.open_ways(context), *exec.find(container)),
        detour=(*exec.detour(container),),
        flags=0,
        beside=beside,
        child=(
            *alone(),
            *((WAIT,) if beside else ()),
            *outside.enter(context),
            *last,
            *_attributes(process),
            *confine.surroundings(process, spec, context),
            Step("seal_interpreter", (), "the next files in sight are the container's: nothing is imported from there"),
            *exec.enter(container),
            *console.plan(process, bind=False),
            *become(process, spec, context),
        ),
        cgroup_layout=context.cgroup_layout,
    )


def alone() -> Iterator[Step]:
    """A copy of the parent becomes a process that shares nothing with it, and can be seen by nobody."""
    yield Step("set_dumpable", (False,), "its /proc/PID/exe is the machine's Python: no container may open it (CVE-2019-5736)")
    yield Step("close_descriptors", (), "the parent's descriptors lead to other containers and to the machine")
    yield Step("reset_signals", (), "Python ignores SIGPIPE; the program must not inherit that")
    yield Step("setsid", (), "a session of its own, without a terminal")


WAIT = Step("wait_for_parent", (), "until the parent has mapped its ids and adjusted it")


def _names(spec: Spec) -> Iterator[Step]:
    wanted = namespaces.wanted(spec)
    if wanted.get("uts") == "":
        if spec.hostname is not None:
            yield Step("sethostname", (spec.hostname,), "its own name, in its own uts namespace")
        if spec.domainname is not None:
            yield Step("setdomainname", (spec.domainname,), "and NIS domain")
    if wanted.get("network") == "":
        yield Step("bring_up", ("lo",), "a new network namespace has one interface, and it is down")


def _keep_from_the_machine(spec: Spec, process: Process, context: Context) -> Iterator[Step]:
    """What is needed from the machine's files is opened while they are in sight; afterwards there is no way back to them."""
    yield Step("umask", (0,), "modes are meant as they are written below")
    if spec.linux and spec.linux.maskedPaths:
        yield Step("open_null", (), "to cover files with: the machine's null device, never the image's (CVE-2025-31133)")
    if context.barrier is not None:
        yield Step("open_barrier", (context.barrier,), "where it will wait for start")
    if confine.writes_attributes(process) or (spec.linux and spec.linux.sysctl):
        yield Step("open_procfs", (), "a procfs that no image can put a link into (CVE-2025-52881)")
    yield from confine.surroundings(process, spec, context)
    yield from sysctl.plan(spec)


def _attributes(process: Process) -> Iterator[Step]:
    if confine.writes_attributes(process):
        yield Step("open_procfs", (), "a procfs that no image can put a link into (CVE-2025-52881)")


def _hooks_midway(spec: Spec, context: Context, ask: bool) -> Iterator[Step]:
    if ask:
        yield Step("ask_parent", (), "prestart and createRuntime hooks run now, out there")
    if spec.hooks:
        yield from hooks.plan(spec.hooks.createContainer, spec, context, "creating", "createContainer")


def _read_only_root(spec: Spec) -> Iterator[Step]:
    if spec.root and spec.root.readonly:
        yield Step("make_readonly", ("root",), "the root file system was asked for read-only")


def become(process: Process, spec: Spec, context: Context, last_hooks: tuple[Hook, ...] = ()) -> Iterator[Step]:
    """From root of the container to the program: at birth and at exec alike."""
    yield Step("take_environment", (process.env,), "kept apart from Python's own")
    yield from identity.plan(process, context)
    yield Step("enter_directory", (process.cwd, False), "the working directory, and a look that it is inside (CVE-2024-21626)")
    yield Step("own_stdio", (), "standard input, output and error belong to its user")
    yield Step("umask", (0o022 if process.user.umask is None else process.user.umask,), "what new files may not allow")
    yield Step("close_on_exec", (), "no descriptor but standard input, output and error reaches the program")
    yield from confine.plan(process, spec, os.uname().machine)
    yield Step("enter_directory", (process.cwd, True), "again, in case only its user is let in")
    if process.args:
        yield Step("find_program", (process.args[0],), "in the PATH of its own environment")
    if context.barrier is not None:
        yield Step("barrier", (), "created; start lets it go on")
    if last_hooks:
        yield from hooks.plan(last_hooks, spec, context, "created", "startContainer")
    if context.init:
        yield Step("stay_as_init", (), "PID 1 reaps and forwards signals; its child goes on")
    if process.args:
        yield Step("execve", (process.args,), "this process is now the program; whatever was Python is gone")
