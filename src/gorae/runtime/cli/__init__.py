"""`gorae-runtime`: runc's command line, so that dockerd, containerd, podman and the OCI's own tests can drive the runtime.

Start at `main`. `arguments` is the grammar, `commands` what each command does, `log` how a failure is told to the engine
that started us, `terminal` the foreground `run` and `exec` with a tty. A container's directory is `gorae.runtime.state`'s.
"""
