from __future__ import annotations

import os

import pytest

from geventwsgi.master.drain_delay import DrainDelay

#: xdist's workers have a thread; the child does nothing that could wait for it.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def test_is_ready_until_it_begins_and_due_once_after_the_delay():
    drain_delay = DrainDelay()
    assert drain_delay.is_ready()
    assert drain_delay.nap(100) is None
    assert drain_delay.begin(5, 100)
    assert not drain_delay.is_ready()
    assert drain_delay.nap(102) == 3
    assert not drain_delay.due(104.9)
    assert drain_delay.due(105)
    assert not drain_delay.due(106)
    assert drain_delay.nap(106) is None


def test_without_a_delay_nothing_is_waited_for():
    drain_delay = DrainDelay()
    assert not drain_delay.begin(0, 100)
    assert not drain_delay.is_ready()
    assert not drain_delay.due(1000)


def test_who_asks_twice_is_in_a_hurry():
    drain_delay = DrainDelay()
    assert drain_delay.begin(5, 100)
    assert not drain_delay.begin(5, 101)
    assert not drain_delay.due(1000)


def test_a_process_that_was_forked_before_sees_it():
    drain_delay = DrainDelay()
    asked, answered = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(asked[0], 1)
        os.write(answered[1], b"ready" if drain_delay.is_ready() else b"not")
        os._exit(0)
    try:
        drain_delay.begin(1, 0)
        os.write(asked[1], b"?")
        assert os.read(answered[0], 9) == b"not"
    finally:
        os.waitpid(pid, 0)
        for fd in (*asked, *answered):
            os.close(fd)
