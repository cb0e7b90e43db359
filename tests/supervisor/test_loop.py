"""The event loop: order, forgetting, deadlines, faults."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from gorae.supervisor.loop import IN, Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_deadlines_come_in_their_order(loop: Loop) -> None:
    done: list[str] = []
    loop.after(0.02, lambda: done.append("second"))
    loop.after(0.01, lambda: done.append("first"))
    loop.after(0.015, lambda: done.append("never")).cancel()
    loop.after(0.03, loop.stop)
    loop.run()
    assert done == ["first", "second"]


def test_cancelled_deadlines_are_cleared_out(loop: Loop) -> None:
    kept = [loop.after(1000, loop.stop) for _ in range(10)]
    for _ in range(1000):
        loop.after(30, loop.stop).cancel()
    assert len(loop._timers) < 100
    assert all(timer in loop._timers for timer in kept)
    kept[0].cancel()
    kept[0].cancel()


def test_a_deadline_that_was_met_can_be_cancelled(loop: Loop) -> None:
    timer = loop.after(0, lambda: None)
    loop.turn(1)
    for _ in range(100):
        timer.cancel()
    assert loop._cancelled == 0


def test_events_of_the_forgotten_are_not_delivered(loop: Loop, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    again = os.dup(reading)
    called: list[int] = []

    def handler(number: int) -> None:
        called.append(number)
        loop.forget(reading)
        loop.forget(again)

    loop.watch(reading, IN, lambda _: handler(reading))
    loop.watch(again, IN, lambda _: handler(again))
    os.write(writing, b"x")
    loop.turn(1)
    assert len(called) == 1
    loop.forget(reading)
    os.close(again)


def test_a_fault_in_a_handler_is_told_and_survived(loop: Loop, pipe: tuple[int, int], capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = pipe
    done: list[str] = []

    def faulty(_: int) -> None:
        os.read(reading, 1)
        raise RuntimeError("what went wrong")

    loop.watch(reading, IN, faulty)
    loop.after(0, lambda: done.append("deadline"))
    os.write(writing, b"x")
    loop.turn(1)
    loop.turn(0)
    assert done == ["deadline"]
    assert "what went wrong" in capfd.readouterr().err
    loop.forget(reading)
