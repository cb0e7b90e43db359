"""goraed: the program that joins the engine to its API on a socket.

    main       the command line, from options to exit status
    options    flags, which win over daemon.json (that is `engine.config`)
    settings   both together
    imports    what a start costs, and how half of it is saved
    ground     directories, limits, the pid file and its lock
    early      the supervisor, launched while we still import
    listen     where to listen; the unix sockets: mode, group, stale ones
    tcp        addresses, and what must be said before one is served without client certificates
    certificates  the server's half of mutual TLS
    life       start, serve, signals, stop

No HTTP shapes, no containers: those are `api` and `engine`. Start with `main`.
"""
