"""The registry on the wire: OCI distribution specification 1.1, over aiohttp.

    app          from a request to its endpoint, from any failure to an answer
    routes       which path and method is whose, and the rights it needs
    call         one request, as endpoints see it
    connection   limits on clients: idle, slow, too many
    body         what comes in: at most so fast, so slow, so much
    sending      what goes out: ranges, sendfile, slow readers
    ranges       Range and Content-Range (pure)
    paging       n, last and Link (pure)
    blobs · uploads · manifests · listing · system      the endpoints

Start with `app`, then `routes`.
"""
