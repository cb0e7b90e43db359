"""The default seccomp profile: which system calls a container may make unless it is told otherwise.

Equal in effect to Docker's of today, which is an allow-list: what is not named here fails with EPERM, and what is newer
than the list with ENOSYS (that is the compiler's doing).

    profile(capabilities, machine, kernel)
      ├─ ALLOWED                     for everyone, by subject
      ├─ SINCE_4_8                   tracing, once the kernel runs the filter after the tracer
      ├─ OF_ARCHITECTURE[machine]    what only that machine has
      ├─ WITH_CAPABILITY[name]       what opens with a capability; the kernel asks for it again
      └─ socket, personality, clone  depending on an argument

What is missing on purpose: io_uring (a second way into the kernel that no filter sees; out since 2023), keyctl, add_key and
request_key (keyrings know no namespace), kexec, swap, userfaultfd (the tool of race exploits), vm86, nfsservctl and other
relics.
"""

from __future__ import annotations

from collections.abc import Iterable

from gorae.oci.runtimespec import Seccomp, SeccompArg, SeccompSyscall

EPERM = 1
ENOSYS = 38

FILES = """
    access faccessat faccessat2 open openat openat2 creat close close_range read readv pread64 preadv preadv2 write writev
    pwrite64 pwritev pwritev2
    lseek _llseek truncate truncate64 ftruncate ftruncate64 fallocate copy_file_range sendfile sendfile64 splice tee vmsplice
    stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx statfs statfs64 fstatfs fstatfs64 statmount listmount
    getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir mknod mknodat rename renameat renameat2
    link linkat symlink symlinkat unlink unlinkat readlink readlinkat
    chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 fchownat lchown lchown32 umask utime utimes futimesat
    utimensat utimensat_time64
    getxattr lgetxattr fgetxattr getxattrat listxattr llistxattr flistxattr listxattrat
    setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat
    fsync fdatasync sync syncfs sync_file_range fadvise64 fadvise64_64 readahead cachestat name_to_handle_at
    dup dup2 dup3 fcntl fcntl64 flock ioctl pipe pipe2
    inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark
    io_setup io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64 io_destroy
    mq_open mq_unlink mq_notify mq_getsetattr mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64
"""

WAITING = """
    select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2
    eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
    futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue get_robust_list set_robust_list membarrier rseq
"""

# `socket` itself looks at the family; i386's `socketcall` hides it behind a pointer, but without that call 32-bit programs
# would break.
NETWORK = """
    accept accept4 bind connect listen shutdown socketpair socketcall getpeername getsockname getsockopt setsockopt
    recv recvfrom recvmsg recvmmsg recvmmsg_time64 send sendto sendmsg sendmmsg
"""

MEMORY = """
    brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock munlockall remap_file_pages mseal
    map_shadow_stack
    memfd_create memfd_secret pkey_alloc pkey_free pkey_mprotect
    ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
"""

PROCESSES = """
    fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill pidfd_open pidfd_send_signal
    process_mrelease
    getpid getppid gettid getpgid getpgrp getsid setpgid setsid set_tid_address
    get_thread_area set_thread_area prctl seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
    rt_tgsigqueueinfo
    sigaltstack sigprocmask sigreturn pause restart_syscall uretprobe
    getrlimit ugetrlimit setrlimit prlimit64 getrusage times getpriority setpriority ioprio_get ioprio_set getcpu
    sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam sched_get_priority_max
    sched_get_priority_min
    sched_getscheduler sched_setscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_yield
"""

IDENTITY = """
    getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid getresgid32 getgroups
    getgroups32
    setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32 setresgid setresgid32
    setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capget capset
"""

# Reading and waiting; `adjtimex` and `clock_adjtime` also set, but the kernel asks CAP_SYS_TIME for that.
TIME = """
    time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep clock_nanosleep_time64
    nanosleep
    adjtimex clock_adjtime clock_adjtime64 alarm getitimer setitimer
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
"""

SYSTEM = "uname sysinfo getrandom riscv_hwprobe"

ALLOWED = " ".join((FILES, WAITING, NETWORK, MEMORY, PROCESSES, IDENTITY, TIME, SYSTEM)).split()

# Before Linux 4.8 a tracer could change the system call's number after the filter had seen it.
SINCE_4_8 = ("ptrace", "process_vm_readv", "process_vm_writev")

OF_ARCHITECTURE = {
    "x86_64": "arch_prctl modify_ldt",
    "aarch64": "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    "ppc64le": "sync_file_range2 swapcontext",
    "s390x": "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
    "riscv64": "riscv_flush_icache",
}

WITH_CAPABILITY = {
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init lookup_dcookie lsm_get_self_attr lsm_list_modules lsm_set_self_attr perf_event_open
        quotactl quotactl_fd
        fsopen fspick fsconfig fsmount mount mount_setattr move_mount open_tree umount umount2 setns unshare sethostname
        setdomainname syslog
    """,
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "init_module finit_module delete_module",
    "CAP_SYS_NICE": "get_mempolicy set_mempolicy set_mempolicy_home_node mbind",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}

# Families 0 to 11 and those of a container's daily life. Not: DECnet 12, Econet 19, ATM 20, IrDA 23, WANPIPE 25, IUCV 34,
# CAIF 37; not ALG 38 (wrote to the page cache: CVE-2026-31431) and VSOCK 40 (reaches the hypervisor, past all network
# namespaces); nothing after 45.
FIRST_FAMILIES_END = 12
FAMILIES = (13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45)

# personality(2): PER_LINUX, PER_LINUX32, each also with UNAME26, and the question what it is. Not ADDR_NO_RANDOMIZE, for one.
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

# CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
CLONE_NEW = 0x7E020000

ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
    "ppc64le": ("SCMP_ARCH_PPC64LE",),
    "s390x": ("SCMP_ARCH_S390X", "SCMP_ARCH_S390"),
    "riscv64": ("SCMP_ARCH_RISCV64",),
    "loongarch64": ("SCMP_ARCH_LOONGARCH64",),
}


def profile(capabilities: frozenset[str], machine: str, kernel: tuple[int, int]) -> Seccomp:
    """The profile for a container.

    `capabilities` are the names ("CAP_…") in its bounding set, `machine` is uname's word, `kernel` is (major, minor).
    """
    names = set(ALLOWED) | set(OF_ARCHITECTURE.get(machine, "").split())
    if kernel >= (4, 8):
        names |= set(SINCE_4_8)
    for capability in capabilities:
        names |= set(WITH_CAPABILITY.get(capability, "").split())
    rules = [SeccompSyscall(names=tuple(sorted(names)), action="SCMP_ACT_ALLOW"), *sockets(), *personalities()]
    if "CAP_SYS_ADMIN" not in capabilities:
        rules += namespaces(machine)
    return Seccomp(
        defaultAction="SCMP_ACT_ERRNO",
        defaultErrnoRet=EPERM,
        architectures=ARCHITECTURES.get(machine, ()),
        syscalls=tuple(rules),
    )


def sockets() -> Iterable[SeccompSyscall]:
    yield allow_if("socket", SeccompArg(index=0, value=FIRST_FAMILIES_END, op="SCMP_CMP_LT"))
    for family in FAMILIES:
        yield allow_if("socket", SeccompArg(index=0, value=family, op="SCMP_CMP_EQ"))


def personalities() -> Iterable[SeccompSyscall]:
    for value in PERSONALITIES:
        yield allow_if("personality", SeccompArg(index=0, value=value, op="SCMP_CMP_EQ"))


def namespaces(machine: str) -> Iterable[SeccompSyscall]:
    """Threads and processes, but no namespaces: a new user namespace would open a good part of the kernel to everyone."""
    # CONFIG_CLONE_BACKWARDS2: s390 has the flags second.
    flags = 1 if machine == "s390x" else 0
    yield allow_if("clone", SeccompArg(index=flags, value=CLONE_NEW, valueTwo=0, op="SCMP_CMP_MASKED_EQ"))
    # clone3 hides its flags behind a pointer; with ENOSYS the C libraries fall back to clone.
    yield SeccompSyscall(names=("clone3",), action="SCMP_ACT_ERRNO", errnoRet=ENOSYS)


def allow_if(name: str, condition: SeccompArg) -> SeccompSyscall:
    return SeccompSyscall(names=(name,), action="SCMP_ACT_ALLOW", args=(condition,))
