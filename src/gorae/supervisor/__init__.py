"""The parent of all containers: one single-threaded process that forks, reaps and pumps stdio, and keeps no wishes.

    main      the program: preparation, then the loop
    lean      what is kept out of its memory
    loop      epoll, deadlines, nothing else
    protocol  the messages, shared with the client; strict, bounded
    server    connections: messages in, answers and events out
    calls     what each call does
    children  the table of the living: containers and execs, and the state of each
    spawn     a start or an exec in flight, driven by the loop, with a deadline
    executor  how births and burials are asked for: a seam, and the runtime behind it
    reaper    SIGCHLD, pidfds, exit records
    stdio     pumps: pipe or pty → log and attach sockets; attach sockets → stdin
    attach    one attach socket: frames out, stdin in
    upgrade   execve of itself with children and descriptors kept
    adopt     taking over the containers of a supervisor that died
    client    the engine's side (the only file here that may use asyncio)
    launch    starts the program

goraed may die at any instant: nothing here depends on a client being connected. Standard library only. The seam is drawn in
docs/seams.md. Start with `main`, then `children`.
"""
