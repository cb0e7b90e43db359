"""Names and ids of containers. Pure, but for the dice.

name   [a-zA-Z0-9][a-zA-Z0-9_.-]+      at least two characters; a leading "/" is dropped
id     64 hexadecimal digits; shown are the first 12
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from gorae import errors

ALLOWED = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]+", re.ASCII)
LONGEST = 255
ID = re.compile(r"[0-9a-f]{64}", re.ASCII)


def _words(*lines: str) -> tuple[str, ...]:
    return tuple(word for line in lines for word in line.split())


ADJECTIVES = _words(
    "agile amber ample ancient arctic balmy blithe bold brave breezy bright brisk buoyant calm candid cheerful chilly civil",
    "clear clever cosmic crisp curious daring deep deft diligent dreamy eager early earnest easy elated elegant fair",
    "faithful fearless festive fleet fluent fond frank free fresh frosty gentle gleeful golden graceful grand happy hardy",
    "hearty honest humble icy jolly jovial keen kind lively lucid lucky lunar marine mellow merry mild misty modest nimble",
    "noble northern patient peaceful placid playful polite prompt proud quick quiet radiant rapid ready roaming rosy royal",
    "serene sharp silent silver sincere smooth snowy solar sound spry steady sturdy sunny swift tender tidal tranquil true",
    "upbeat valiant vivid warm wise witty",
)
# People who measured the sea, the sky or the earth, or taught machines; many of them Korean.
SURNAMES = _words(
    "agnesi ampere anning babbage banach bernoulli bohr boole borlaug brahe cantor carson cauchy celsius cousteau curie",
    "darwin dijkstra earle einstein engelbart erdos euler faraday fermat feynman fourier franklin galileo galois gauss",
    "germain goeppert haenyeo halley hamilton heo hilbert hodgkin hopper hubble huygens hypatia jang johnson kepler",
    "khwarizmi kilby kim knuth kovalevskaya lagrange lamarr laplace lavoisier leavitt lee leibniz linnaeus lovelace maury",
    "maxwell meitner melville mendel mercator mitchell morland nansen newton nightingale noether ohm pascal pasteur payne",
    "perlman planck poincare ptolemy ramanujan riemann ritchie rubin scoresby seki sejong shannon steller tharp thompson",
    "torvalds turing vera volta wallace wegener wing wright wu yi yonath zhang zuse",
)


def new_id() -> str:
    """64 random hexadecimal digits, never such that the short form could be read as a number."""
    while True:
        identity = secrets.token_hex(32)
        if not identity[:12].isdigit():
            return identity


def new_name(taken: Callable[[str], bool], choose: Callable[[tuple[str, ...]], str] = secrets.choice) -> str:
    """`adjective_surname`, not taken; after some tries with a number behind it."""
    name = ""
    for _ in range(12):
        name = f"{choose(ADJECTIVES)}_{choose(SURNAMES)}"
        if not taken(name):
            return name
    number = 1
    while taken(f"{name}{number}"):
        number += 1
    return f"{name}{number}"


def check_name(name: str) -> str:
    """The name without its leading "/"; InvalidArgument in Docker's words."""
    bare = name.removeprefix("/")
    if not NAME.fullmatch(bare) or len(bare) > LONGEST:
        raise errors.InvalidArgument(f"Invalid container name ({ascii(name)[1:-1][:300]}), only {ALLOWED} are allowed")
    return bare
