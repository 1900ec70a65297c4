"""What a worker notes of a stall, and what it logs."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import gevent
import pytest
from gevent import get_hub
from greenlet import getcurrent

from geventwsgi.observe.outputs import request_id
from geventwsgi.observe.stall_table import SharedStalls
from geventwsgi.worker.watching.stalls import Stalls, place_of


@pytest.fixture
def stalls():
    """Stalls from 20 ms on; what was logged is in ``lines``."""
    lines = []

    def warn(text, *args, extra):
        lines.append((text % args, extra[request_id.FIELD]))

    me = getcurrent()
    slot = SimpleNamespace(busy_since=0, stalls=SharedStalls(1).of(0))
    made = Stalls(slot, 0.02, warn, lambda running: "GET /" if running is me else "")
    made.watch(get_hub().loop)
    gevent.sleep(0)
    made.lines = lines
    yield made
    for watcher in made._watchers:
        watcher.close()


def stand_still(seconds, *samples):
    """Keep the loop from turning, and take samples at those moments."""
    begun = time.perf_counter()
    due = sorted(samples, key=lambda sample: sample[0])
    while time.perf_counter() - begun < seconds:
        while due and time.perf_counter() - begun >= due[0][0]:
            due.pop(0)[1]()


def turn():
    gevent.sleep(0.001)
    gevent.sleep(0.001)


def test_a_stall_is_one_line(stalls):
    def take():
        stalls.sample(sys._getframe())

    turn()
    stand_still(0.05, (0.02, take), (0.03, take))
    turn()
    ((line, _),) = stalls.lines
    assert "(2 of 2 samples)" in line and "test_stalls.py" in line and line.endswith("serving GET /")
    (place,) = stalls._slot.stalls.places()
    assert place.times == 1 and place.worst >= 50_000_000 and "test_stalls.py" in place.place


def test_the_duration_is_that_of_the_turn(stalls):
    turn()
    stand_still(0.05, (0.03, lambda: stalls.sample(sys._getframe())))
    turn()
    ((line, _),) = stalls.lines
    assert 0.05 <= float(line.split()[5]) < 1


def test_the_request_that_the_log_knows(stalls):
    token = request_id.CURRENT.set("abc")
    turn()
    stand_still(0.05, (0.03, lambda: stalls.sample(sys._getframe())))
    request_id.CURRENT.reset(token)
    turn()
    assert [identity for _, identity in stalls.lines] == ["abc"]


def test_a_sample_that_comes_too_early_is_none(stalls):
    turn()
    stand_still(0.05, (0, lambda: stalls.sample(sys._getframe())))
    turn()
    assert stalls.lines == []


def test_a_turn_that_was_sampled_but_ends_in_time_is_no_stall(stalls):
    turn()
    stand_still(0.012, (0.011, lambda: stalls.sample(sys._getframe())))
    turn()
    assert stalls.lines == []


def test_waiting_is_no_stall(stalls):
    gevent.sleep(0.05)
    stalls.sample(sys._getframe())
    turn()
    assert stalls.lines == []


def test_the_slot_says_when_the_turn_began(stalls):
    before = time.monotonic_ns()
    turn()
    assert before < stalls._slot.busy_since <= time.monotonic_ns()


def test_a_place_is_a_line_and_its_callers():
    frame = sys._getframe()
    line, place = frame.f_lineno, place_of(frame)
    assert place.startswith(f"{__file__}:{line} (test_a_place_is_a_line_and_its_callers) < ")


def test_no_frame_has_a_place_too():
    assert place_of(None) != ""
