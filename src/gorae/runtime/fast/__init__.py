"""The second executor: a birth as a table of system calls, walked by a thousand bytes of machine code.

    birth.child ─ flight.board ─▶ ops in an arena ─ stub: clone3 ─▶ child walks the ops ─▶ execve
                  places, person: what each step is in ops           no Python, no page of ours but the arena

It does what `plain` does, call by call and check by check, without copying the parent's page tables and without Python in the
child. What it cannot (hooks, init, barriers, user namespaces, …) is born by `plain`: `flight.board` decides that beforehand, and
`flight.GiveUp` when something unusual is met on the way. Start at `flight`, then `code` (an op), `arena`, `stub.c`.

    flight   one birth: assembled, entered, followed       places   rootfs, mounts, masks, devices, sysctl as ops
    code     the assembler                                 person   the process itself: descriptors, identity, rights, execve
    arena    memory, machine code, what children inherit   slots    numbers that ops share
    stub.c   the machine code's source; build.py makes stub_x86_64.py of it
"""
