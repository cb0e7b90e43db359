"""Pieces of HTML. `Markup` is what may stand in a document as it is; every other string is escaped when it is put in."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote, urlencode

STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #777; --mark: #0a6ebd; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1.5rem; max-width: 68rem; }
header { border-bottom: 1px solid var(--line); margin-bottom: 1.5rem; padding-bottom: .5rem; }
header a { font-weight: 600; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin-top: 2rem; }
a { color: var(--mark); text-decoration: none; }
a:hover { text-decoration: underline; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--dim); font-weight: 500; font-size: .85rem; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
.dim { color: var(--dim); }
pre { background: #8881; padding: .6rem .8rem; overflow-x: auto; }
"""
POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def safe(piece: object) -> Markup:
    return piece if isinstance(piece, Markup) else Markup(escape(str(piece), quote=True))


def joined(pieces: Iterable[object], between: str = "") -> Markup:
    return Markup(between.join(safe(piece) for piece in pieces))


def tag(name: str, *pieces: object, kind: str = "") -> Markup:
    attribute = f' class="{escape(kind, quote=True)}"' if kind else ""
    return Markup(f"<{name}{attribute}>{joined(pieces)}</{name}>")


def anchor(piece: object, path: str, **query: str) -> Markup:
    address = quote(path) + (f"?{urlencode(query)}" if query else "")
    return Markup(f'<a href="{escape(address, quote=True)}">{safe(piece)}</a>')


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], numbers: frozenset[int] = frozenset()) -> Markup:
    """`numbers`: the columns that are set to the right."""

    def row(kind: str, cells: Sequence[object]) -> Markup:
        return tag("tr", *(tag(kind, cell, kind="number" if position in numbers else "") for position, cell in enumerate(cells)))

    return Markup(f"<table><thead>{row('th', heads)}</thead><tbody>{joined(row('td', cells) for cells in rows)}</tbody></table>")


def document(title: str, *pieces: object) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<header>{anchor('registry', '/')}</header><main>{joined(pieces)}</main></body></html>"
    )


def size(number: int) -> str:
    """Bytes as people read them: `3.4 MB`."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
