"""Pull-through caches of other registries.

    remote      one other registry over HTTP: redirects, credentials, tokens
    challenge   what a WWW-Authenticate header asks for (pure)
    fill        a blob on its way in, read by its clients while it still comes
    mirror      which names are whose; fresh, stale, missing

A credential belongs to scheme, host and port, and goes nowhere else. Start with `mirror`.
"""
