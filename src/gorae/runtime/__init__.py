"""One container from one OCI bundle. Knows the kernel and the OCI runtime specification; knows no Docker.

Start at `birth`: it is the kernel story, a pure function from the specification to a list of named steps. `life` is the parent's
side of that story (bear, release, bury); two executors walk the list inside the new process.

    birth     specification + context -> Birth: the steps of parent and child, in order, each with its reason (words: `terms`)
    life      bear(birth) -> Nascent (driven by whoever owns the event loop: `nascent`), bury: what is undone afterwards (`burial`)
    plain     the reference executor: a raw clone3 child walks the list in Python
    fast/     the other one: the list as a table of system calls, walked by machine code
    scene     what the steps of one birth share: descriptors by name, facts found on the way, the report socket

    rootfs mounts devices cgroupfs masks sysctl        what the program sees
    identity confine console program init exec hooks   who it is, what it may do, how it starts
    validate                                           what is refused before anything is made

A topic's module holds both halves: the plan (pure, returns steps) above, the deeds (run in the child, one function a step) below.
What is not here: images, networks, logs, restarts and the Docker API.
"""
