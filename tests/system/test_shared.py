"""The shared mapping: a slot per worker, across a fork."""

from __future__ import annotations

import os

import pytest

from geventwsgi.errors import WorkerBootError
from geventwsgi.system.shared import SharedSlots
from tests.support.waiting import wait_until

#: xdist's workers have a thread; the child does nothing that could wait for it.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def test_master_sees_what_a_forked_worker_writes():
    slot = SharedSlots(4).take()
    pid = os.fork()
    if pid == 0:
        try:
            slot.beat()
            slot.beat()
            slot.count(requests=3, connections=2**40)
            slot.count_served(7)
            slot.tell()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0) == (pid, 0)
    assert (slot.beats, slot.requests, slot.connections, slot.served, slot.told) == (2, 3, 2**40, 7, True)


def test_worker_sees_what_its_master_orders():
    slot = SharedSlots(4).take()
    pid = os.fork()
    if pid == 0:
        try:
            wait_until(lambda: slot.sweep)
            os._exit(0)
        finally:
            os._exit(1)
    assert not slot.sweep
    slot.order_sweep()
    assert os.waitpid(pid, 0) == (pid, 0)


def test_slots_do_not_touch_each_other():
    slots = SharedSlots(3)
    first, second, third = slots.take(), slots.take(), slots.take()
    second.beat()
    second.count(1, 2)
    second.count_served(3)
    assert [one.beats for one in (first, second, third)] == [0, 1, 0]
    assert [one.connections for one in (first, second, third)] == [0, 2, 0]


def test_released_slot_is_taken_again_lowest_first_and_cleared():
    slots = SharedSlots(3)
    first, second = slots.take(), slots.take()
    first.beat()
    slots.release(second)
    slots.release(first)
    again = slots.take()
    assert (again.index, again.beats) == (first.index, 0)


def test_more_workers_than_slots_is_an_error_with_a_cure():
    slots = SharedSlots(1)
    slots.take()
    with pytest.raises(WorkerBootError, match="more than 1 workers: lower --workers"):
        slots.take()


def test_the_least_load_is_that_of_a_worker_that_accepts():
    slots = SharedSlots(4)
    first, second, third = slots.take(), slots.take(), slots.take()
    assert first.least() == -1
    first.count(requests=3, connections=4)
    first.accept(accepting=True)
    assert second.least() == 7
    second.count(requests=1, connections=1)
    third.accept(accepting=False)
    assert first.least() == 7
    second.accept(accepting=True)
    assert first.least() == third.least() == 2
    slots.release(second)
    assert first.least() == 7


def test_slots_never_taken_cost_nothing_to_ask():
    slots = SharedSlots(9)
    slots.take()
    assert slots._fields[-1] == len(slots._fields) // 10  # the end of the first slot


def test_those_that_stay_get_connections():
    slots = SharedSlots(4)
    one, due, stays, none = (slots.take() for _ in range(4))
    for number, slot in enumerate((one, due, stays), 1):
        slot.sit(number)
    due.be_due()
    assert one.others() == [(stays.index, 3)]
    assert none.others() == [(one.index, 1), (stays.index, 3)]
    stays.rise()
    assert one.others() == [(due.index, 2)]  # there is nobody else
