"""Which workers have been silent for too long."""

from __future__ import annotations

from types import SimpleNamespace

from geventwsgi.master.handles import WorkerHandle
from geventwsgi.master.watchdog import BOOT_TIMEOUT, Watchdog
from geventwsgi.worker.heartbeat import interval


def make_worker(timeout, booted=True):
    worker = WorkerHandle(1, 0, SimpleNamespace(timeout=timeout), None, SimpleNamespace(beats=0))
    worker.ready_at = 0.0 if booted else None
    return worker


def look(watchdog, worker, start, seconds, step=1.0, beating=False):
    """Look every ``step`` seconds; return the moments at which the worker was found silent."""
    found, now = [], start
    while now <= start + seconds:
        worker.slot.beats += beating
        found += [now - start for silent in watchdog.look([worker], now) if silent is worker]
        now += step
    return found


def test_silent_worker_is_found_once_its_timeout_has_passed():
    assert look(Watchdog(), make_worker(timeout=30), 500, 100) == [31]


def test_worker_that_beats_is_never_found():
    assert look(Watchdog(), make_worker(timeout=1), 500, 100, step=0.25, beating=True) == []


def test_one_beat_starts_the_count_anew():
    watchdog, worker = Watchdog(), make_worker(timeout=30)
    assert look(watchdog, worker, 500, 29) == []
    worker.slot.beats += 1
    assert look(watchdog, worker, 530, 100) == [31]


def test_timeout_0_is_off():
    watchdog, worker = Watchdog(), make_worker(timeout=0)
    assert look(watchdog, worker, 500, 1000) == []
    assert watchdog.nap([worker]) is None


def test_master_that_slept_holds_nothing_against_its_workers():
    watchdog, worker = Watchdog(), make_worker(timeout=30)
    watchdog.look([worker], 500)
    assert watchdog.look([worker], 5000) == []
    assert worker.silence <= 2


def test_first_look_counts_nothing():
    watchdog, worker = Watchdog(), make_worker(timeout=0.5)
    assert watchdog.look([worker], 500) == []
    assert worker.silence == 0


def test_looks_more_often_for_a_short_timeout():
    assert interval(30) == 1
    assert interval(1) == 0.25
    assert Watchdog.nap([make_worker(30), make_worker(2), make_worker(0)]) == 0.5
    assert Watchdog.nap([]) is None


def test_worker_that_boots_has_more_time():
    assert look(Watchdog(), make_worker(timeout=4, booted=False), 500, 100) == [BOOT_TIMEOUT + 1]
    assert look(Watchdog(), make_worker(timeout=60, booted=False), 500, 100) == [61]
    assert look(Watchdog(), make_worker(timeout=0, booted=False), 500, 100) == []
