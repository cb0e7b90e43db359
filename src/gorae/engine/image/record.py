"""An image's row, and how a configuration (OCI's words) becomes one (the engine's words). Pure.

    configuration bytes ──oci.imageconfig──▶ ImageConfig ──describe──▶ Record ──JSON──▶ images.record
                                             digest of the bytes = id
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from gorae.engine.image import model
from gorae.errors import InvalidArgument
from gorae.oci import imageconfig
from gorae.oci.digest import Digest

SECOND = 10**9
# Text that people wrote is kept, but not without end.
LONGEST_TEXT = 1 << 16


class Step(msgspec.Struct, frozen=True):
    """A line of the history, oldest first."""

    created: int | None = None
    created_by: str = ""
    comment: str = ""
    empty: bool = False


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a configuration, so that a list reads no blobs. `sizes` are of the layers, unpacked, lowest first."""

    image: model.Image
    sizes: tuple[int, ...] = ()
    history: tuple[Step, ...] = ()


_decoder = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    return msgspec.json.encode(record)


def decode(data: bytes) -> Record:
    return _decoder.decode(data)


def describe(data: bytes, sizes: Sequence[int], *, builtin: bool = False) -> Record:
    """Raises `InvalidArgument` for what is no configuration of a Linux image."""
    found = imageconfig.decode(data)
    if found.os != "linux":
        raise InvalidArgument(f"the image is for {found.os[:40]!a}: only linux runs here")
    config = found.config
    check = config.Healthcheck
    history = tuple(
        Step(nanoseconds(step.created), step.created_by[:LONGEST_TEXT], step.comment[:LONGEST_TEXT], step.empty_layer)
        for step in found.history
    )
    image = model.Image(
        id=str(Digest.of(data)),
        comment=history[-1].comment if history else "",
        created=nanoseconds(found.created),
        author=found.author[:LONGEST_TEXT],
        architecture=found.architecture,
        variant=found.variant or "",
        os=found.os,
        os_version=found.os_version or "",
        config=model.ImageConfig(
            user=config.User,
            exposed_ports=tuple(sorted(config.ExposedPorts)),
            env=config.Env,
            entrypoint=config.Entrypoint,
            cmd=config.Cmd,
            volumes=tuple(sorted(config.Volumes)),
            working_dir=config.WorkingDir,
            labels=config.Labels,
            stop_signal=config.StopSignal,
            healthcheck=None
            if check is None
            else model.HealthCheck(
                test=check.Test,
                interval=check.Interval,
                timeout=check.Timeout,
                start_period=check.StartPeriod,
                start_interval=check.StartInterval,
                retries=check.Retries,
            ),
            on_build=config.OnBuild,
            shell=config.Shell,
        ),
        size=sum(sizes),
        layers=tuple(str(digest) for digest in found.rootfs.diff_ids),
        builtin=builtin,
    )
    return Record(image=image, sizes=tuple(sizes), history=history)


def to_oci(config: model.ImageConfig) -> imageconfig.Config:
    """The other way."""
    check = config.healthcheck
    return imageconfig.Config(
        User=config.user,
        ExposedPorts=frozenset(config.exposed_ports),
        Env=config.env,
        Entrypoint=config.entrypoint,
        Cmd=config.cmd,
        Healthcheck=None
        if check is None
        else imageconfig.Healthcheck(
            Test=check.test,
            Interval=check.interval,
            Timeout=check.timeout,
            StartPeriod=check.start_period,
            StartInterval=check.start_interval,
            Retries=check.retries,
        ),
        Volumes=frozenset(config.volumes),
        WorkingDir=config.working_dir,
        OnBuild=config.on_build,
        Labels=dict(config.labels),
        StopSignal=config.stop_signal,
        Shell=config.shell,
    )


def steps(record: Record) -> tuple[model.HistoryItem, ...]:
    """`history`, newest first. Only the image itself has an id: the steps below it were never images here."""
    sizes = list(record.sizes)
    items: list[model.HistoryItem] = []
    for step in record.history:
        size = 0 if step.empty or not sizes else sizes.pop(0)
        items.append(model.HistoryItem(created=step.created or 0, created_by=step.created_by, size=size, comment=step.comment))
    items.reverse()
    if items:
        items[0] = msgspec.structs.replace(items[0], id=record.image.id, tags=record.image.repo_tags)
    return tuple(items)


def chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """The names of the trees that layers make, each on those before it (image specification, config.md, "Layer ChainID")."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(f"sha256:{hashlib.sha256(f'{chain[-1]} {diff_id}'.encode()).hexdigest()}" if chain else diff_id)
    return tuple(chain)


_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):(\d\d))")


def nanoseconds(text: str | None) -> int | None:
    """An RFC 3339 time. None for what is none: a wrong date does not make an image unusable."""
    match = _TIME.fullmatch(text or "")
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), min(int(second), 59), tzinfo=UTC)
    except ValueError:
        return None
    offset = (int(hours) * 60 + int(minutes)) * 60 * (-1 if sign == "-" else 1) if sign else 0
    whole = (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    return (int(whole) - offset) * SECOND + int((fraction or "0").ljust(9, "0"))


def rfc3339(nanoseconds: int) -> str:
    whole, fraction = divmod(nanoseconds, SECOND)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{text}.{fraction:09}".rstrip("0").rstrip(".") + "Z"
