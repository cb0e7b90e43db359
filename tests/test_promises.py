"""SPECIFICATION.md and docs/security.md name tests; those tests exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("SPECIFICATION.md", "docs/security.md", "docs/docker-differences.md")
NAMED = re.compile(r"`((?:tests|benchmarks)/[\w./-]+)(?:::(\w+))?`")


@pytest.mark.parametrize("page", [page for page in PAGES if (ROOT / page).exists()])
def test_what_a_page_names_exists(page: str) -> None:
    missing = []
    found = NAMED.findall((ROOT / page).read_text())
    assert found, f"{page} names no test at all"
    for path, function in found:
        file = ROOT / path
        if not file.exists() or (function and not re.search(rf"def {function}\b", file.read_text())):
            missing.append(f"{path}::{function}" if function else path)
    assert not missing, f"{page} names what is not there"
