"""Refusals with the specification's codes (spec.md, Error Codes), and the status that each is answered with.

    code                    status   when
    BLOB_UNKNOWN            404      the repository has no such blob
    BLOB_UPLOAD_INVALID     400      the upload cannot go on like this; 416 for a chunk out of order
    BLOB_UPLOAD_UNKNOWN     404      no such upload
    DIGEST_INVALID          400      not a digest, or not of these bytes
    MANIFEST_BLOB_UNKNOWN   404      a manifest names a blob that the repository has not
    MANIFEST_INVALID        400      not a manifest, or ambiguous; 413 for one that is too large
    MANIFEST_UNKNOWN        404
    NAME_INVALID            400
    NAME_UNKNOWN            404
    SIZE_INVALID            400      the body was longer or shorter than announced; 413 for a blob that is too large
    UNAUTHORIZED            401      who are you?
    DENIED                  403      you may not
    UNSUPPORTED             405      this registry does not do that (read-only, a mirror)
    TOOMANYREQUESTS         429      come again
    PAGINATION_NUMBER_INVALID, TAG_INVALID, UNKNOWN                           (distribution's own, older than the specification)
"""

from __future__ import annotations

from collections.abc import Mapping

from gorae.errors import GoraeError

STATUS = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 400,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 404,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "SIZE_INVALID": 400,
    "UNAUTHORIZED": 401,
    "DENIED": 403,
    "UNSUPPORTED": 405,
    "TOOMANYREQUESTS": 429,
    "PAGINATION_NUMBER_INVALID": 400,
    "TAG_INVALID": 400,
    "UNKNOWN": 500,
}


class Refusal(GoraeError):
    """`code` is the specification's; `detail` anything that JSON can say."""

    def __init__(
        self, code: str, message: str, *, status: int = 0, detail: object = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status or STATUS[code]
        self.detail = detail
        self.headers = dict(headers or {})
