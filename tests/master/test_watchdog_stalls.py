"""When a worker is asked where its loop stands."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from geventwsgi.master.watchdog import CLOSE, StallWatch
from geventwsgi.worker import lastwords

pytestmark = pytest.mark.skipif(lastwords.PROBE is None, reason="the system has no URG")


class FakeWorker:
    def __init__(self, threshold=1.0, busy=None):
        self.cfg = SimpleNamespace(stall_threshold=threshold)
        self.slot = SimpleNamespace(busy_since=0)
        self.asked_at = None
        self.signals = []
        self.be_busy(busy)

    def be_busy(self, seconds):
        self.slot.busy_since = 0 if seconds is None else time.monotonic_ns() - int(seconds * 1e9)

    def send(self, number):
        self.signals.append(number)


@pytest.mark.parametrize(
    ("threshold", "busy", "asked"), [(1.0, None, 0), (1.0, 0.1, 0), (1.0, 0.6, 1), (1.0, 100, 1), (0, 100, 0)]
)
def test_one_look(threshold, busy, asked):
    worker = FakeWorker(threshold, busy)
    StallWatch().look([worker])
    assert worker.signals == [lastwords.PROBE] * asked


def test_faulthandler_has_no_part_in_it(monkeypatch):
    """It reads the interpreter's frames while they change: every twentieth stall of Python 3.11 ended the worker."""
    registered = []
    monkeypatch.setattr(lastwords.faulthandler, "register", lambda number, *_, **__: registered.append(number))
    lastwords.arm(1)
    assert registered == [lastwords.ASK] != [lastwords.PROBE]


def test_a_stall_is_sampled_at_each_look():
    watch, worker = StallWatch(), FakeWorker(busy=0.6)
    for _ in range(5):
        watch.look([worker])
    assert len(worker.signals) == 5


def test_a_long_stall_is_sampled_less_often():
    watch, worker = StallWatch(), FakeWorker(busy=0.6)
    for _ in range(10 * CLOSE):
        watch.look([worker])
    assert len(worker.signals) == CLOSE + 1


def test_the_next_stall_is_sampled_anew():
    watch, worker = StallWatch(), FakeWorker(busy=0.6)
    for _ in range(10 * CLOSE):
        watch.look([worker])
    before = len(worker.signals)
    worker.be_busy(0.7)
    watch.look([worker])
    assert len(worker.signals) == before + 1


def test_a_worker_that_is_asked_for_its_stacks_is_left_alone():
    worker = FakeWorker(busy=100)
    worker.asked_at = 1.0
    StallWatch().look([worker])
    assert worker.signals == []


@pytest.mark.parametrize(("thresholds", "nap"), [([0], None), ([], None), ([1.0, 0.4, 0], 0.1), ([0.001], 0.01)])
def test_nap(thresholds, nap):
    assert StallWatch.nap([FakeWorker(threshold) for threshold in thresholds]) == nap
