"""Networks, and the endpoints by which containers join them.

    model        Network, Pool, Endpoint, Port: the values
    pools        which subnet a network gets, and what `network create` may say (pure)
    allocation   which address and MAC an endpoint gets
    ports        which host ports are published, and who has them
    rules        values → the nftables rule set (pure)
    firewall     keeps that rule set in the kernel
    plumbing     namespaces, bridges, veth pairs: the effects
    record       rows
    catalogue    create, find, list, remove networks
    member       a container as this room sees it
    resolvers    which containers have a resolver
    endpoints    a container's life in its networks: plug, unplug, restore
    parts        all of these, put together
    dns/         the resolver at 127.0.0.11 of user networks

Start reading at `endpoints`. Nothing here knows HTTP or Docker's JSON.
"""
