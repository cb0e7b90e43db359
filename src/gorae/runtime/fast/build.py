"""stub.c → stub_x86_64.py: `python -m gorae.runtime.fast.build`, with gcc and objcopy on an x86-64 machine."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
COMPILE = (
    *("gcc", "-std=gnu11", "-c", "-Os", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-nostdlib", "-fPIE", "-mno-sse"),
    *("-fno-stack-protector", "-fcf-protection=none", "-fno-asynchronous-unwind-tables", "-fno-jump-tables", "-fno-builtin"),
    *("-fno-toplevel-reorder", "-fno-reorder-functions", "-fno-tree-loop-distribute-patterns"),
)


def code() -> bytes:
    """The machine code. Raises FileNotFoundError without a compiler."""
    with tempfile.TemporaryDirectory() as directory:
        compiled, raw = f"{directory}/stub.o", f"{directory}/stub"
        subprocess.run([*COMPILE, str(HERE / "stub.c"), "-o", compiled], check=True)
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", compiled, raw], check=True)
        return Path(raw).read_bytes()


def compiler() -> str:
    """Another compiler makes other code of the same source."""
    return subprocess.run([COMPILE[0], "--version"], check=True, capture_output=True, text=True).stdout.splitlines()[0]


def module(raw: bytes) -> str:
    lines = "\n".join(f'    "{raw[at : at + 32].hex()}"' for at in range(0, len(raw), 32))
    head = f'"""The machine code of stub.c for x86-64, made by build.py."""\n\nCOMPILER = "{compiler()}"\n'
    return f"{head}CODE = bytes.fromhex(\n{lines}\n)\n"


if __name__ == "__main__":
    (HERE / "stub_x86_64.py").write_text(module(code()))
