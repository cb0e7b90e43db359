"""The kernel's words: one function a system call, constants with the kernel's names, no policy.

Start with `libc` (how a call is made and how it fails). `path`, `tree` and `mount` are what a root file system is built with,
`namespace` and `process` what a container is born with, `capability`, `seccomp` and `keyring` what it is confined with, `fd`, `tty`
and `inotify` what is pumped and watched, `idmap`, `interface`, `bpf` and `system` the rest. `syscall_table` is data.

Every wrapper raises `OSError(errno, "call: what the kernel says", path)`. Descriptors that are returned are close-on-exec and
belong to the caller. Not here: control groups (`gorae.cgroup`), any decision about what a container should look like
(`gorae.runtime`).
"""
