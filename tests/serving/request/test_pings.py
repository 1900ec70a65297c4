"""When pings are sent and a client counts as gone, on a clock of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from geventwsgi.serving.request import pings

if TYPE_CHECKING:
    from collections.abc import Iterator


class Bench:
    """A client, the deadlines and the time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.received = 0
        self.waits = True
        self.free = True
        self.owed = 0
        self.before = 0
        self.sent: list[float] = []
        self.dropped: list[float] = []
        self.due = 0.0

    # The client

    def awaited(self) -> bool:
        return self.waits

    def takes(self) -> bool:
        before, self.before = self.before, self.owed
        return 0 < self.owed < before

    def ping(self) -> bool:
        if self.free:
            self.sent.append(self.now)
        return self.free

    def drop(self, reason: str) -> None:
        assert reason == "the client has not answered a ping"
        self.dropped.append(self.now)

    # The deadlines

    def arm(self, holder: Any, seconds: float) -> None:
        self.due = self.now + seconds

    def forget(self, holder: Any) -> None:
        self.due = 0.0

    def run(self, holder: pings.Pings, until: float) -> None:
        """Let the time pass."""
        while self.due and self.due <= until and not self.dropped:
            self.now = self.due
            holder.expire()
        self.now = until


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench()
    monkeypatch.setattr(pings.clock, "monotonic", lambda: bench.now)
    return bench


def made(bench: Bench, interval: float, timeout: float) -> pings.Pings:
    return pings.Pings(bench, bench, interval, timeout)


def test_a_ping_is_sent_every_interval(bench: Bench) -> None:
    holder = made(bench, 25, 0)
    bench.run(holder, 180)
    assert bench.sent == [125, 150, 175]
    assert bench.dropped == []


@pytest.mark.parametrize(("interval", "timeout", "end"), [(25, 20, 145), (20, 20, 140), (10, 25, 135)])
def test_a_client_is_gone_when_nothing_comes_within_the_timeout(
    bench: Bench, interval: float, timeout: float, end: float
) -> None:
    holder = made(bench, interval, timeout)
    bench.run(holder, 300)
    assert bench.dropped == [end]


def test_an_answer_is_counted_for_its_ping(bench: Bench) -> None:
    holder = made(bench, 25, 20)
    bench.run(holder, 130)
    bench.received += 1
    bench.run(holder, 160)
    assert bench.dropped == []
    bench.run(holder, 200)
    assert (bench.sent, bench.dropped) == ([125, 150], [170])


def test_what_came_before_a_ping_is_no_answer_to_it(bench: Bench) -> None:
    holder = made(bench, 25, 20)
    bench.received += 1
    bench.run(holder, 200)
    assert bench.dropped == [145]


def test_a_client_is_not_judged_while_nobody_receives(bench: Bench) -> None:
    holder = made(bench, 25, 20)
    bench.waits = False
    bench.run(holder, 180)
    assert (bench.sent, bench.dropped) == ([125, 150, 175], [])
    bench.waits = True
    bench.run(holder, 200)
    assert bench.dropped == [195]


def test_it_can_be_stopped(bench: Bench) -> None:
    holder = made(bench, 25, 20)
    holder.stop()
    bench.run(holder, 300)
    assert bench.sent == []


def test_a_ping_behind_a_large_message_has_its_time(bench: Bench) -> None:
    """Less of the message is left at each look; when nothing more is taken, the client is gone."""
    holder = made(bench, 25, 20)
    bench.owed = 3000
    bench.run(holder, 130)
    bench.owed = 2000
    bench.run(holder, 150)
    bench.owed = 1000
    bench.run(holder, 170)
    assert bench.dropped == []
    bench.run(holder, 300)
    assert bench.dropped == [185]


def test_a_ping_that_was_not_sent_needs_no_answer(bench: Bench) -> None:
    holder = made(bench, 25, 20)
    bench.free = False
    bench.run(holder, 190)
    assert bench.dropped == []
    bench.free = True
    bench.run(holder, 300)
    assert (bench.sent, bench.dropped) == ([200], [220])
