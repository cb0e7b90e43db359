"""Control groups: v1, hybrid, v2 and none at all behind one shape.

    layout    detect() -> Layout: which controller lives where on this machine, which control files there are; Layout.place(path)
    group     Cgroup: create, apply, restrict_devices, attach, freeze, thaw, kill, remove, stats, oom_kills, watch_oom
    v1 · v2   what the two kinds of hierarchy do differently when a directory is made
    limits    pure: OCI resources → what to write where, and warnings
    devices   pure: OCI device rules → v1 lines, v2 program
    stats     pure: control files → Stats
    files · processes    one write, one read; who is in a directory
    events    an fd that is readable after an out-of-memory event

Nothing here knows of containers, and no path under /sys/fs/cgroup is assumed: all come from mountinfo. Start at `group`.
"""
