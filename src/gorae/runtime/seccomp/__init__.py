"""Seccomp: from the OCI profile to the kernel's classic BPF, without libseccomp.

`compiler` is the way in: `compile(profile, machine)`. It asks `rules` what each system call number of each architecture
means, lays the numbers out as trees, lets `conditions` write the tests of arguments, and `assembler` turns labels into
jumps. What Docker allows by default is not here but in `gorae.oci.seccomp_profile`, because the engine needs it too; the
system call that installs a program is in `gorae.linux.seccomp`.
"""
