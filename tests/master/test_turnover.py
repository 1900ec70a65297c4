"""Which workers have served long enough."""

from __future__ import annotations

import os

import pytest

from geventwsgi.config.sources import Config
from geventwsgi.master.handles import Stage, WorkerHandle
from geventwsgi.master.turnover import MIB, Turnover, request_limit
from geventwsgi.system.process import resident
from geventwsgi.system.shared import SharedSlots


def make_worker(slot=None, **settings):
    worker = WorkerHandle(1, os.getpid(), Config.of(**settings), None, slot or SharedSlots(1).take())
    worker.pid, worker.state, worker.ready_at = 17, Stage.READY, 1000
    worker.request_limit = request_limit(worker.cfg)
    return worker


def due(turnover, worker, now):
    return turnover.look([worker], now) == [worker]


def test_worker_is_due_after_max_requests_once():
    turnover, worker = Turnover(), make_worker(max_requests=50)
    worker.slot.count_served(49)
    assert not due(turnover, worker, 1000)
    worker.slot.count_served(53)
    assert due(turnover, worker, 1001)
    assert worker.due == "has served 53 requests (max_requests)"
    assert not due(turnover, worker, 1002)


def test_the_other_workers_pass_nothing_to_one_that_is_due_and_something_to_one_that_is_not():
    slots, turnover = SharedSlots(3), Turnover()
    giver, *workers = slots.take(), make_worker(slots.take(), max_requests=50), make_worker(slots.take())
    for number, worker in enumerate(workers, 1):
        worker.slot.sit(number)
    turnover.look(workers, 1000)
    assert giver.others() == [(1, 1), (2, 2)]
    workers[0].slot.count_served(50)
    turnover.look(workers, 1001)
    assert giver.others() == [(2, 2)]


def test_jitter_is_added_to_max_requests():
    cfg = Config.of(max_requests=50, max_requests_jitter=5)
    assert {request_limit(cfg) for _ in range(1000)} == {50, 51, 52, 53, 54, 55}
    assert request_limit(Config.of(max_requests_jitter=5)) == 0


def test_worker_is_due_after_max_worker_age():
    turnover, worker = Turnover(), make_worker(max_worker_age=60)
    assert not due(turnover, worker, 1059)
    assert due(turnover, worker, 1060)


def test_memory_must_be_too_large_three_times_in_a_row():
    sizes = [101, 101, 99, 101, 101, 101]
    turnover = Turnover(lambda _pid: sizes.pop(0) * MIB)
    worker = make_worker(max_worker_memory="100M")
    assert [due(turnover, worker, 1000 + second) for second in range(6)] == [False] * 5 + [True]
    assert worker.due == "has 101 MiB of memory (max_worker_memory)"


def test_looks_no_more_often_than_each_second():
    turnover, worker = Turnover(lambda _pid: 101 * MIB), make_worker(max_worker_memory="100M")
    assert not any(due(turnover, worker, 1000 + second / 10) for second in range(20))
    assert turnover.nap([worker], 1001.9) == pytest.approx(0.1)


@pytest.mark.parametrize("state", [Stage.BOOTING, Stage.LEAVING])
def test_worker_that_does_not_serve_is_never_due(state):
    worker = make_worker(max_requests=1)
    worker.slot.count_served(5)
    worker.state = state
    assert not due(Turnover(), worker, 1000)


def test_without_limits_there_is_nothing_to_look_at():
    assert Turnover().nap([make_worker()], 1000) is None
    assert not due(Turnover(), make_worker(), 10**9)


def test_memory_of_a_process():
    assert resident(os.getpid()) > MIB
    assert resident(2**30) == 0
