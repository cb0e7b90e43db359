"""The resolver at 127.0.0.11: names of containers, and everything else from outside.

    zone      which names there are in which network
    answers   one question → one answer, or "ask outside" (pure)
    server    the sockets inside the containers' namespaces
    upstream  asking outside, with a cache

The wire format is dnslib's. Internal networks ask nobody outside (CVE-2024-29018). Start reading at `server`.
"""
