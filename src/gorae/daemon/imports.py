"""Imports what the daemon needs, in half the time.

Importing is most of a start: the collector of cycles runs dozens of times over objects that are all alive (off: −10 ms), and the
package `aiohttp` imports its client, which makes a TLS context from the machine's certificates (−90 ms of 200). The daemon
uses the server half only, so `aiohttp` is put in place empty and filled when somebody asks for a name of the client's.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick() -> Iterator[None]:
    """Within this, import. Afterwards all that was imported is beyond the collector (which keeps a fork's pages shared, too)."""
    gc.disable()
    if "aiohttp" not in sys.modules:
        _place_aiohttp()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _place_aiohttp() -> None:
    """Put the package where `import aiohttp.web_server` finds it, without running its `__init__`."""
    from importlib.util import find_spec, module_from_spec

    spec = find_spec("aiohttp")
    if spec is None or spec.loader is None or spec.origin is None:
        return
    with open(spec.origin, encoding="utf-8") as file:
        first = file.readline()
    name, _, version = first.partition(" = ")
    if name != "__version__":
        return  # not laid out as we know it: import it in full
    loader, module = spec.loader, module_from_spec(spec)

    def fill(name: str) -> object:
        """PEP 562: asked for a name that is not there yet. Submodules are found by the import system, which asks here first."""
        if name.startswith("__") or find_spec(f"aiohttp.{name}") is not None:
            raise AttributeError(name)
        del module.__dict__["__getattr__"]
        loader.exec_module(module)
        return getattr(module, name)

    module.__dict__.update(__version__=version.strip().strip("\"'"), __getattr__=fill)
    sys.modules["aiohttp"] = module
