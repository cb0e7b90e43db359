"""How a layer says that something of a lower layer is gone: on the wire and on the disk.

    archive (OCI image spec, layer.md)      overlayfs (Documentation/filesystems/overlayfs.rst)
    .wh.NAME                                NAME as character device 0:0
    .wh..wh..opq in a directory             trusted.overlay.opaque=y on it
    .wh..wh.ANYTHING                        nothing: bookkeeping of aufs
"""

from __future__ import annotations

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"
BOOKKEEPING = b".wh..wh."
OPAQUE_XATTR = b"trusted.overlay.opaque"
OVERLAY_XATTRS = (b"trusted.overlay.", b"user.overlay.")


def unwanted_xattr(name: bytes) -> bool:
    """An archive must not speak to overlayfs (a redirect would show another directory), nor to a security module of this
    machine."""
    return not (
        name in (b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default")
        or (name.startswith(b"user.") and not name.startswith(OVERLAY_XATTRS))
    )
