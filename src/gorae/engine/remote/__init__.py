"""Other people's registries, as their client (OCI distribution specification 1.1 and Docker's token authentication).

    rules        pure: which origins a name means, who may hand out tokens; patience
    challenge    pure: WWW-Authenticate
    failure      what a registry answered → our errors, in Docker's words; what is worth trying again
    tls          CA folders and client certificates by host
    session      one origin: requests, redirects, credentials, tokens
    repository   one repository there: manifests, blobs in and out
    registries   which registry to ask; the start

aiohttp's client is imported when the first registry is asked: it would be half of goraed's start (docs/decisions/0003). Not in
here: storage, images, and what becomes of the bytes (engine/image/pull.py, push.py).
"""
