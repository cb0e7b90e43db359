"""Docker's JSON shapes, stream framing, versions and filters: what travels between a server and its clients.

    codec       bytes ↔ structs, as strictly as Docker's own decoder and a little more
    config      what a container is made from: Config, HealthConfig, CreateRequest
    hostconfig  HostConfig and its parts
    container   answers about containers          exec      about exec sessions
    image       about images                      network   about networks and endpoints
    volume      about volumes                     system    about the engine
    event       the lines of /events              progress  the lines of load, import, pull, build
    error       the shape of a failure            auth      credentials
    filters     the `filters` parameter           versions  1.24 … 1.56
    stdcopy     the 8-byte frames of attach, exec and logs

No HTTP, no policy, no engine: values in, values out. `stdcopy`, `versions` and `filters` use the standard library only, because
the command line loads them and msgspec costs it 39 ms. Start with `config`.
"""
