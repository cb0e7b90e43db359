"""The client's side of the Docker Engine API, for our CLI and for anyone who wants a small synchronous one.

In here: `endpoint` (where is the engine: `DOCKER_HOST`, contexts, our own socket), `http` (one HTTP/1.1 connection; why it is our
own is in `docs/decisions/0001-a-lean-client.md`), `engine` (the calls), `session` (hijacked streams joined to local descriptors).
Not in here: typed shapes (`wire`, which needs msgspec) and anything that runs containers. Standard library only, and little of
that: the whole package is imported by every `gorae …` a shell loop runs.
"""
