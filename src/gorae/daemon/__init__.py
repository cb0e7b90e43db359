"""goraed: the program that joins the engine to its API on a socket.

    main       the command line, from options to exit status
    options    flags and daemon.json
    ground     the data root's lock, the pid file, checks before anything else is touched
    listen     the unix socket: its mode, its group, stale ones
    life       start, serve, signals, stop

No HTTP shapes, no containers: those are `api` and `engine`. Start with `main`.
"""
