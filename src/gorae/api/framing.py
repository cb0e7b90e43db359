"""Heads that one reader may understand otherwise than another are refused: a proxy or a plugin in front of us must not see a
different request than we do (request smuggling, RFC 9112 §11.2).

The parser (llhttp, strict) refuses already: Content-Length beside Transfer-Encoding, or twice, or anything but digits · an encoding
after chunked · folded lines · bare CR or LF · NUL and other control characters · space before a colon · two Hosts. What it lets
through and is refused here:

    HTTP/0.9                          no head at all
    Transfer-Encoding with HTTP/1.0   RFC 9112 §6.1: treat the framing as faulty
    Transfer-Encoding: gzip, chunked  nothing here decodes it
    two Content-Types                 who takes the first and who the last?
    Content-Encoding                  the same bytes would be two bodies
"""

from __future__ import annotations

from aiohttp.web_request import BaseRequest

from gorae.api.limits import HeadTooLarge, Limits, Untrusted


def check(request: BaseRequest, limits: Limits) -> None:
    """Untrusted for such a head, HeadTooLarge for one that is too long."""
    headers = request.headers
    if request.version < (1, 0):
        raise Untrusted("HTTP/0.9 is not spoken here")
    encoding = headers.getall("Transfer-Encoding", ())
    if encoding and (request.version < (1, 1) or len(encoding) > 1 or encoding[0].strip().lower() != "chunked"):
        raise Untrusted("unsupported Transfer-Encoding: only chunked, and only in HTTP/1.1")
    if len(headers.getall("Content-Type", ())) > 1:
        raise Untrusted("Content-Type is given twice")
    if headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise Untrusted("unsupported Content-Encoding: send the body as it is")
    size = len(request.raw_path) + sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
    if size > limits.head:
        raise HeadTooLarge(f"the head of the request has {size} bytes, at most {limits.head} are taken")
