from __future__ import annotations

import os

import pytest

from geventwsgi.master.drain_delay import Departure

#: xdist's workers have a thread; the child does nothing that could wait for it.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def test_is_ready_until_it_begins_and_due_once_after_the_delay():
    departure = Departure()
    assert departure.is_ready()
    assert departure.nap(100) is None
    assert departure.begin(5, 100)
    assert not departure.is_ready()
    assert departure.nap(102) == 3
    assert not departure.due(104.9)
    assert departure.due(105)
    assert not departure.due(106)
    assert departure.nap(106) is None


def test_without_a_delay_nothing_is_waited_for():
    departure = Departure()
    assert not departure.begin(0, 100)
    assert not departure.is_ready()
    assert not departure.due(1000)


def test_who_asks_twice_is_in_a_hurry():
    departure = Departure()
    assert departure.begin(5, 100)
    assert not departure.begin(5, 101)
    assert not departure.due(1000)


def test_a_process_that_was_forked_before_sees_it():
    departure = Departure()
    asked, answered = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(asked[0], 1)
        os.write(answered[1], b"ready" if departure.is_ready() else b"not")
        os._exit(0)
    try:
        departure.begin(1, 0)
        os.write(asked[1], b"?")
        assert os.read(answered[0], 9) == b"not"
    finally:
        os.waitpid(pid, 0)
        for fd in (*asked, *answered):
            os.close(fd)
