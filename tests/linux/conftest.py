"""A child made by our own clone3, so that the test process's namespaces, filters and capabilities stay as they are."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from gorae.linux import namespace

InChild = Callable[..., Any]


def run_in_child(function: Callable[[], Any], flags: int = 0, beside: Callable[[int], None] | None = None) -> Any:
    """Run `function` in a child born with `flags` and return its result (as JSON); `beside(pid)` runs in the parent before."""
    result_reader, result_writer = os.pipe2(os.O_CLOEXEC)
    go_reader, go_writer = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = namespace.clone3(flags)
    if pid == 0:
        try:
            os.close(go_writer)
            os.read(go_reader, 1)
            answer = json.dumps({"value": function()})
        except BaseException:
            answer = json.dumps({"error": traceback.format_exc()})
        os.write(result_writer, answer.encode())
        os._exit(0)
    os.close(result_writer)
    os.close(go_reader)
    try:
        if beside:
            beside(pid)
        os.close(go_writer)
        with open(result_reader, "rb") as file:
            answer = file.read().decode()
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    finally:
        os.close(pidfd)
    assert answer, "the child died without an answer"
    parsed = json.loads(answer)
    assert "error" not in parsed, parsed["error"]
    return parsed["value"]


@pytest.fixture
def in_child() -> InChild:
    return run_in_child
