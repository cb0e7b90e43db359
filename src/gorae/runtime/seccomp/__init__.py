"""Seccomp: from the OCI profile to the kernel's classic BPF, without libseccomp.

`compiler` is the way in: `compile(profile, machine)`. It asks `rules` what each system call number of each architecture means, and `assembler` to lay
that out as a program. What Docker allows by default is not here but in `gorae.oci.seccomp_profile`, because the engine needs it too; and the
system call that installs a program is `gorae.linux.seccomp`.
"""
