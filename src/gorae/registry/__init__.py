"""The registry server: the OCI distribution specification 1.1 over HTTP, in front of a directory or a bucket.

    settings      what it is told: one frozen value, made from options and files
    serve         from settings to listening sockets, and the end
    http/         the wire: routes, ranges, paging, limits on slow and large clients, errors → status and code
    auth/         who may do what: htpasswd, tokens, the policy file
    repository    what a repository is: blobs, manifests, tags, referrers (no HTTP)
    push          a manifest is checked, written and becomes visible
    garbage       mark and sweep while pushes go on; `condemned` is the protocol between them
    upstream/     pull-through caches
    page/         the readable page
    store/        where bytes lie: `store.seam` says what is asked of one, `directory` and `bucket` do it
    layout        the drawing of what lies where

It keeps no state of its own: any number of instances may serve one store. It needs no daemon and knows neither engine nor client.
Start with `layout`, then `http.routes`.
"""
