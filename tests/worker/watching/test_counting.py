"""What a worker counts of itself, with a loop that turns when the test says so."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from geventwsgi.observe import occurrences
from geventwsgi.observe.tally import LAG, Tallies
from geventwsgi.serving.accept.capacity import Capacity, Guest
from geventwsgi.serving.request.live_exchange import HELD, REQUEST, WEBSOCKET
from geventwsgi.system.shared import SharedSlots
from geventwsgi.worker.watching import counting
from geventwsgi.worker.watching.counting import Counting


@pytest.fixture
def worker(monkeypatch):
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(counting, "monotonic", lambda: now.seconds)
    tallies, slot, guests = Tallies(4, [0.1, 1]), SharedSlots(4).take(), []
    capacity = Capacity(10)
    timers = []

    def turn(seconds):
        now.seconds += seconds
        timers[0][1]()
        return tallies.totals()

    one = Counting(tallies.of(slot.index), slot, capacity, lambda: guests)
    one.begin(lambda *timer: timers.append(timer))
    yield SimpleNamespace(turn=turn, counting=one, slot=slot, guests=guests, capacity=capacity, timers=timers)
    occurrences.count_by(None)


def guest(kind):
    return SimpleNamespace(in_flight=lambda: () if kind is None else ((None, SimpleNamespace(kind=lambda: kind)),))


def test_the_delay_of_the_loop(worker):
    assert worker.timers[0][0] == 0.1
    worker.turn(0.1)
    worker.turn(0.35)
    assert worker.turn(5).histogram(LAG)[0] == [1, 2, 3]


def test_accepted_connections_are_counted_once(worker):
    client = Guest()
    client.remote_addr, client.counted = "a", False
    worker.capacity.enter(client)
    assert worker.turn(0.1).counters("accepted") == {"": 1}
    assert worker.turn(0.1).counters("accepted") == {"": 1}
    assert worker.slot.connections == 1


def test_what_connections_do_is_looked_at_once_a_second(worker):
    worker.guests += map(guest, [HELD, HELD, WEBSOCKET, REQUEST, None])
    totals = worker.turn(0.1)
    assert (totals.gauge("held"), totals.gauge("websockets"), totals.gauge("busy")) == (2, 1, 1)
    worker.guests.clear()
    assert worker.turn(0.5).gauge("held") == 2
    assert worker.turn(0.6).gauge("held") == 0


def test_few_connections_are_looked_at_in_one_turn(worker, monkeypatch):
    monkeypatch.setattr(counting, "SLICE", 10)
    seen = []
    for _ in range(35):
        one = guest(HELD)
        worker.guests.append(SimpleNamespace(in_flight=lambda one=one: seen.append(one) or one.in_flight()))
    for count, told in ((10, 0), (20, 0), (30, 0), (35, 35)):
        assert worker.turn(0.1).gauge("held") == told
        assert len(seen) == count


def test_connections_accepted_since_the_last_look_are_counted_at_the_end(worker):
    worker.capacity.entered += 3
    worker.counting.end()
    assert worker.turn(0.1).counters("accepted") == {"": 3}


def test_what_happens_seldom_is_counted_from_then_on_and_not_in_strangers(worker):
    occurrences.occurred("timeouts", "keepalive")
    occurrences._here.let_go()
    occurrences.occurred("timeouts", "keepalive")
    assert worker.turn(0.1).counters("timeouts")["keepalive"] == 1
