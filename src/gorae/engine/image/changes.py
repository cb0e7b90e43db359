"""Dockerfile instructions applied to a configuration: what `import --change` and `commit --change` take. Pure.

    CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD SHELL STOPSIGNAL USER VOLUME WORKDIR

Words may be quoted, and `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME:+word}` stand for what ENV has set before, as in a Dockerfile.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from gorae.engine.image.model import HealthCheck, ImageConfig
from gorae.errors import InvalidArgument

SHELL = ("/bin/sh", "-c")
LONGEST = 1 << 16
MOST_PORTS = 1024  # of one EXPOSE: a range is written out


def apply(config: ImageConfig, instructions: Iterable[str]) -> ImageConfig:
    """Raises `InvalidArgument` naming the instruction."""
    command_set = False
    for line in instructions:
        text = line.strip()
        if not text:
            continue
        if len(text) > LONGEST or "\0" in text:
            raise InvalidArgument("a change is too long, or has a NUL in it")
        word, _, rest = text.partition(" ")
        name, rest = word.upper(), rest.strip()
        change = INSTRUCTIONS.get(name)
        if change is None:
            raise InvalidArgument(f"{word[:40]} is not a valid change command")
        if not rest:
            raise InvalidArgument(f"{name} requires at least one argument")
        config = change(config, rest)
        command_set = command_set or name == "CMD"
        if name == "ENTRYPOINT" and not command_set:
            config = replace(config, cmd=None)  # the command was meant for another entrypoint
    return config


def _cmd(config: ImageConfig, text: str) -> ImageConfig:
    return replace(config, cmd=_command(config, text))


def _entrypoint(config: ImageConfig, text: str) -> ImageConfig:
    return replace(config, entrypoint=_command(config, text))


def _env(config: ImageConfig, text: str) -> ImageConfig:
    values = _variables(config)
    for name, value in _pairs("ENV", text, values):
        values[name] = value
    return replace(config, env=tuple(f"{name}={value}" for name, value in values.items()))


def _label(config: ImageConfig, text: str) -> ImageConfig:
    return replace(config, labels={**config.labels, **dict(_pairs("LABEL", text, _variables(config)))})


def _expose(config: ImageConfig, text: str) -> ImageConfig:
    ports = list(config.exposed_ports)
    for word in _words(text):
        ports += [port for port in _ports(expand(word, _variables(config))) if port not in ports]
    return replace(config, exposed_ports=tuple(ports))


def _user(config: ImageConfig, text: str) -> ImageConfig:
    return replace(config, user=_one("USER", text, config))


def _stop_signal(config: ImageConfig, text: str) -> ImageConfig:
    signal = _one("STOPSIGNAL", text, config)
    if not re.fullmatch(r"[A-Za-z0-9+-]{1,20}", signal):
        raise InvalidArgument(f"invalid signal: {signal[:40]}")
    return replace(config, stop_signal=signal)


def _workdir(config: ImageConfig, text: str) -> ImageConfig:
    directory = posixpath.normpath(posixpath.join("/", config.working_dir, expand(text, _variables(config))))
    return replace(config, working_dir="/" + directory.lstrip("/"))


def _volume(config: ImageConfig, text: str) -> ImageConfig:
    listed = _json_list(text)
    found = [expand(word, _variables(config)) for word in (_words(text) if listed is None else listed)]
    if any(not path.strip() for path in found):
        raise InvalidArgument("VOLUME specified can not be an empty string")
    return replace(config, volumes=tuple(dict.fromkeys((*config.volumes, *found))))


def _shell(config: ImageConfig, text: str) -> ImageConfig:
    listed = _json_list(text)
    if not listed:
        raise InvalidArgument('SHELL requires the arguments to be in JSON form: ["executable", "argument"]')
    return replace(config, shell=tuple(listed))


def _on_build(config: ImageConfig, text: str) -> ImageConfig:
    trigger = text.split()[0].upper()
    if trigger in ("ONBUILD", "FROM", "MAINTAINER"):
        raise InvalidArgument(f"{trigger} isn't allowed as an ONBUILD trigger")
    return replace(config, on_build=(*config.on_build, text))


def _healthcheck(config: ImageConfig, text: str) -> ImageConfig:
    options: dict[str, int] = {}
    while match := re.match(r"--([a-z-]+)=(\S+)\s*", text):
        name, value = match[1], match[2]
        if name not in HEALTH_OPTIONS:
            raise InvalidArgument(f"HEALTHCHECK: unknown flag --{name}")
        options[HEALTH_OPTIONS[name]] = _count(value) if name == "retries" else duration(value)
        text = text[match.end() :]
    kind, _, rest = text.partition(" ")
    if kind.upper() == "NONE" and not rest.strip():
        return replace(config, healthcheck=HealthCheck(test=("NONE",)))
    if kind.upper() != "CMD" or not rest.strip():
        raise InvalidArgument("HEALTHCHECK requires CMD and a command, or NONE")
    listed = _json_list(rest.strip())
    test = ("CMD-SHELL", rest.strip()) if listed is None else ("CMD", *listed)
    return replace(config, healthcheck=HealthCheck(test=test, **options))


INSTRUCTIONS: dict[str, Callable[[ImageConfig, str], ImageConfig]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}

HEALTH_OPTIONS = {
    "interval": "interval",
    "timeout": "timeout",
    "start-period": "start_period",
    "start-interval": "start_interval",
    "retries": "retries",
}

UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def duration(text: str) -> int:
    """Go's notation, "1m30s", in nanoseconds."""
    pieces = re.findall(r"(\d{1,12}(?:\.\d{1,9})?)(ns|us|µs|ms|s|m|h)", text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        raise InvalidArgument(f"invalid duration {text[:40]!a}: it must be like 30s or 1m30s")
    total = sum(int(float(number) * UNITS[unit]) for number, unit in pieces)
    if total >= 1 << 63:
        raise InvalidArgument(f"invalid duration {text[:40]!a}: it is too long")
    return total


def expand(text: str, values: Mapping[str, str]) -> str:
    """Take the quotes off and put the variables in."""
    out: list[str] = []
    quote = ""
    position = 0
    while position < len(text):
        char = text[position]
        if quote != "'" and char == "\\" and position + 1 < len(text):
            following = text[position + 1]
            out.append(following if not quote or following in '"\\$' else char + following)
            position += 2
        elif char in "\"'" and quote in ("", char):
            quote = "" if quote else char
            position += 1
        elif char == "$" and quote != "'" and (match := VARIABLE.match(text, position)):
            out.append(_value(match, values))
            position = match.end()
        else:
            out.append(char)
            position += 1
    if quote:
        raise InvalidArgument(f"unexpected end of statement while looking for matching {quote}")
    return "".join(out)


VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?::([-+])([^}]*))?\})")


def _value(match: re.Match[str], values: Mapping[str, str]) -> str:
    value = values.get(match[1] or match[2], "")
    if match[3] == "-":
        return value or match[4]
    if match[3] == "+":
        return match[4] if value else ""
    return value


def _words(text: str) -> list[str]:
    """Split at blanks outside quotes; the quotes stay."""
    return [word for word in re.findall(r"""(?:\\.|"(?:\\.|[^"\\])*"|'[^']*'|[^\s])+""", text, re.DOTALL) if word]


def _pairs(instruction: str, text: str, values: Mapping[str, str]) -> list[tuple[str, str]]:
    """`a=1 b="2 3"`, or the old `a everything else`."""
    words = _words(text)
    if "=" not in words[0]:
        name, _, rest = text.partition(" ")
        if not rest.strip():
            raise InvalidArgument(f"{instruction} must have two arguments")
        return [(name, expand(rest.strip(), values))]
    pairs: list[tuple[str, str]] = []
    for word in words:
        name, equals, value = word.partition("=")
        name = expand(name, values)
        if not equals or not name:
            raise InvalidArgument(f"Syntax error - can't find = in {word[:80]!a}. Must be of the form: name=value")
        pairs.append((name, expand(value, values)))
    return pairs


def _variables(config: ImageConfig) -> dict[str, str]:
    pairs = (item.partition("=") for item in config.env)
    return {name: value for name, _, value in pairs}


def _command(config: ImageConfig, text: str) -> tuple[str, ...]:
    listed = _json_list(text)
    return tuple(listed) if listed is not None else (*(config.shell or SHELL), text)


def _json_list(text: str) -> list[str] | None:
    """The exec form; whatever is not quite that is the shell form, as in Docker."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(item, str) for item in found) else None


def _one(instruction: str, text: str, config: ImageConfig) -> str:
    words = _words(text)
    if len(words) != 1:
        raise InvalidArgument(f"{instruction} requires exactly one argument")
    return expand(words[0], _variables(config))


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < 1:
        raise InvalidArgument(f"--retries must be at least 1, not {text[:20]}")
    return int(text)


def _ports(text: str) -> list[str]:
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", text.lower())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if match is None or not 0 < first <= last <= 65535:
        raise InvalidArgument(f"invalid port {text[:40]!a}: it must be like 80, 80/udp or 8000-8010")
    if last - first >= MOST_PORTS:
        raise InvalidArgument(f"EXPOSE {text}: more than {MOST_PORTS} ports")
    return [f"{port}/{match[3] or 'tcp'}" for port in range(first, last + 1)]
