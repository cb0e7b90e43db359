"""`gorae-runtime`: runc's command line, so that dockerd, containerd, podman and the OCI's own tests can drive the runtime.

Start at `main`. `arguments` is the grammar; `creation`, `lifecycle`, `execution`, `control` and `inquiry` are the commands,
`template` what `spec` writes; `session` is what they share, `terminal` the foreground, `log` how a failure is told to the engine
that started us. What is remembered of a container between two calls is in `gorae.runtime.state`.
"""
