"""The Docker Engine API over HTTP (aiohttp), in front of one engine.

    app        the application: middlewares, routes, server
    routes/    one module a family of endpoints: read the request, call the engine, shape the answer
    adapt/     Docker's shapes ↔ the engine's types; the only place that knows both spellings
    streams    hijacked connections: attach and exec
    websocket  attach for browsers
    detach     the detach keys, a state machine
    connection aiohttp's connections: taken over, and told when a client goes
    limits     what one client may ask for: sizes, seconds, connections
    framing    heads that one reader may understand otherwise than another
    tls        TLS with half-close, over a TCP connection
    authorization/  the hook for plugins
    call       one request: its body, its answer
    router     method and path → endpoint
    engine     what is asked of an engine
    errors     the tree of `gorae.errors` → status codes
    versions   /v1.xx prefixes and the headers that tell the version
    query      parameters and bodies, read strictly

No state of its own and no policy: what a container is, the engine knows. Start with `app`.
"""
