"""The words of the Open Container Initiative's specifications, as frozen values.

    codec         dataclass ↔ JSON object, driven by the annotations; every format below uses it
    record        frozen dataclasses that are cheap to define
    json          read_json: the one strict reader of JSON from outside
    runtimespec   config.json of a bundle (runtime specification 1.2)
    digest · descriptor · manifest · imageconfig · media_type · layout · platform · reference     images and distribution
    seccomp_profile   the default list of allowed system calls

Everything here is pure: no file, no socket, no clock. Field names are the specifications' own. What a value *means* (which registry
a name without a domain belongs to, whether a capability exists on this kernel) is decided above. Start at `runtimespec`.
"""
