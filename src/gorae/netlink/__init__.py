"""The kernel's network configuration, spoken over netlink sockets: links, addresses, routes, neighbours, nftables.

    attribute    the one encoder and decoder of attributes (pure)
    link         messages about links, addresses, routes, neighbours (pure)
    expression   what an nftables rule is made of (pure)
    nftables     messages about tables, chains, rules, sets, elements (pure)
    conversation a socket: ask, list, send a batch, listen

No policy is in here: which links and rules there are is decided in `engine.network`. Standard library only, because a start of a
container goes through here. Start reading at `conversation`.
"""
