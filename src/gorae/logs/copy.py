"""Where output goes besides our own records: what is asked of `copies`."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    from gorae.oci.record import dataclass


@dataclass(frozen=True)
class Copy:
    """`driver` is json-file, syslog or journald. `target` is a path, or an address like unixgram:///dev/log, udp://127.0.0.1:514.

    `fields` is what the driver tells with each line: json-file's attrs, journald's fields.
    """

    driver: str
    target: str
    tag: str = ""
    facility: int = 3
    format: str = ""  # rfc3164, rfc5424, rfc5424micro; "" is the first, without time for a local socket
    max_size: int = 0  # 0: no bound
    max_file: int = 1
    fields: dict[str, str] = field(default_factory=dict)
