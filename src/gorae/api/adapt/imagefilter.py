"""`images --filter` and `image prune --filter`: pure functions over summaries."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Callable, Iterable, Mapping

from gorae.api.query import NANOSECONDS, parse_duration, parse_time
from gorae.engine.filters import matches_labels
from gorae.engine.image.model import ImageSummary
from gorae.errors import InvalidArgument
from gorae.wire import filters
from gorae.wire.filters import Filters


def select(images: Iterable[ImageSummary], wanted: Filters, created: Callable[[str], int]) -> list[ImageSummary]:
    """Those that fit; `created` tells when the image was made that `before` or `since` names."""
    dangling = filters.boolean(wanted, "dangling", False) if "dangling" in wanted else None
    before = min((created(name) for name in wanted.get("before", ())), default=None)
    since = max((created(name) for name in wanted.get("since", ())), default=None)
    until = moment(wanted)
    patterns = [glob(pattern) for pattern in wanted.get("reference", ())]

    def fits(image: ImageSummary) -> bool:
        return (
            (dangling is None or dangling == (not image.repo_tags))
            and (before is None or image.created < before)
            and (since is None or image.created > since)
            and (until is None or image.created < until)
            and matches_labels(image.labels, wanted.get("label", ()))
            and (not patterns or any(_matches(pattern, image) for pattern in patterns))
        )

    return [image for image in images if fits(image)]


def kept(wanted: Filters) -> Callable[[ImageSummary], bool]:
    """Which images a prune must leave alone."""
    until = moment(wanted)
    labels, unwanted = wanted.get("label", ()), wanted.get("label!", ())

    def keep(image: ImageSummary) -> bool:
        return (
            (until is not None and image.created >= until)
            or not matches_labels(image.labels, labels)
            or any(matches_labels(image.labels, (label,)) for label in unwanted)
        )

    return keep


def moment(wanted: Mapping[str, tuple[str, ...]]) -> int | None:
    """`until`: seconds since the epoch, a date, or a duration before now → nanoseconds."""
    values = wanted.get("until", ())
    if not values:
        return None
    if len(values) > 1:
        raise InvalidArgument("more than one until filter specified")
    duration = parse_duration(values[0])
    if duration is not None:
        return time.time_ns() - duration
    date = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d:\d\d)(?:\.\d{1,9})?Z?)?", values[0], re.ASCII)
    if date is None:
        return parse_time("until", values[0])
    try:
        parsed = time.strptime(f"{date[1]}T{date[2] or '00:00:00'}+0000", "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        raise InvalidArgument(f"invalid value for until: {values[0]!r} is not a date") from None
    return calendar.timegm(parsed) * NANOSECONDS


def glob(pattern: str) -> re.Pattern[str]:
    """Go's path.Match: `*` and `?` do not match a slash, `[…]` is a class, a backslash takes the next character as it is."""
    text, index = "", 0
    while index < len(pattern):
        character = pattern[index]
        index += 1
        if character == "*":
            text += "[^/]*"
        elif character == "?":
            text += "[^/]"
        elif character == "[":
            end = pattern.find("]", index + 1)
            if end < 0:
                raise InvalidArgument(f"invalid reference pattern {pattern!r}: [ without ]")
            inner = pattern[index:end]
            negated = inner.startswith("^")
            text += "[^" if negated else "["
            text += re.sub(r"([^A-Za-z0-9-])", r"\\\1", inner[negated:]) + "]"
            index = end + 1
        else:
            if character == "\\" and index < len(pattern):
                character, index = pattern[index], index + 1
            text += re.escape(character)
    try:
        return re.compile(text)
    except re.error:
        raise InvalidArgument(f"invalid reference pattern {pattern!r}") from None


def _matches(pattern: re.Pattern[str], image: ImageSummary) -> bool:
    names = [*image.repo_tags, *image.repo_digests]
    return any(pattern.fullmatch(name) or pattern.fullmatch(_repository(name)) for name in names)


def _repository(name: str) -> str:
    name = name.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]
