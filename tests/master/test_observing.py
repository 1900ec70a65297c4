"""The observer as the master sees it, without processes."""

from __future__ import annotations

import logging
import os
import signal
import socket
from types import SimpleNamespace

import pytest

from geventwsgi.config.sources import Config
from geventwsgi.master import observing
from geventwsgi.master.crew import Crew
from geventwsgi.master.observing import INTERVAL, RETRY, SILENCE, Observing
from geventwsgi.master.state import State
from geventwsgi.worker.application import Application


@pytest.fixture
def forks(monkeypatch):
    """Observers that exist on paper, and the signals that they were sent."""
    told = SimpleNamespace(pids=[], ended={}, signals=[])

    def fork(_state, _live):
        told.pids.append(2**30 + len(told.pids))
        return told.pids[-1]

    monkeypatch.setattr(observing, "fork", fork)
    monkeypatch.setattr(observing, "_end_of", lambda pid, _collected: (pid in told.ended, told.ended.get(pid)))
    monkeypatch.setattr(observing, "_send", lambda pid, number: told.signals.append((pid, number)))
    return told


@pytest.fixture
def state(forks):
    state = State(Application(None))
    state.log = logging.getLogger("test.observing")
    state.kin = SimpleNamespace(successor=0)
    return state


@pytest.fixture
def observe(state):
    made = []

    def begin(address):
        state.cfg = Config.of(admin_bind=address)
        made.append(Observing(state, Crew(state)))
        made[-1].begin(100, {})
        return made[-1]

    yield begin
    for one in made:
        for listener in one.named().values():
            listener.remove()


def test_without_the_setting_there_is_none(observe, forks):
    one = observe(None)
    one.look(100)
    assert (forks.pids, one.nap(100), one.named()) == ([], None, {})


def test_address_in_use_is_tried_again_and_told_once(observe, forks, caplog):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        one = observe(f"127.0.0.1:{taken.getsockname()[1]}")
        for now in (100, 101, 100 + RETRY, 100 + 2 * RETRY):
            one.look(now)
        assert forks.pids == []
        assert one.nap(101 + 2 * RETRY) == RETRY - 1
    assert caplog.text.count("is already in use: stop the other server or choose another --admin-bind") == 1
    one.look(100 + 3 * RETRY)
    assert len(forks.pids) == len(one.named()) == 1
    assert one.nap(100 + 3 * RETRY) == INTERVAL  # to count the backlog


def test_one_that_dies_young_again_and_again_is_replaced_less_and_less_often(observe, forks, caplog):
    one = observe("127.0.0.1:0")
    now, pauses = 100.0, []
    for _ in range(4):
        one.look(now)
        forks.ended[forks.pids[-1]] = 9
        one.collect({}, now)
        one.look(now)
        pauses.append(one.nap(now))
        now += pauses[-1]
    assert pauses == [0.5, 1, 2, 4]
    assert len(forks.pids) == 4
    assert caplog.text.count("was killed by SIGKILL (out of memory?); it is replaced") == 4


def test_system_without_a_process_left_is_tried_again(observe, monkeypatch, caplog):
    def fail(_state, _live):
        raise OSError(11, os.strerror(11))

    monkeypatch.setattr(observing, "fork", fail)
    one = observe("127.0.0.1:0")
    one.look(100)
    one.look(100.1)
    assert caplog.text.count("No observer can be started (Resource temporarily unavailable); it is tried") == 1
    assert one.nap(100) == 0.5


def test_one_that_does_not_end_is_killed(observe, forks, state):
    one = observe("127.0.0.1:0")
    one.look(100)
    one.follow(101)
    one.look(101)
    assert one.nap(101) == INTERVAL
    one.look(106)
    old, new = forks.pids
    assert forks.signals == [(old, signal.SIGTERM), (old, signal.SIGKILL)]
    forks.ended[old] = 9
    one.collect({}, 106)
    assert one.nap(106) == INTERVAL
    assert new not in forks.ended


def look_each_second(one, begin, seconds, before=lambda: None):
    for now in range(begin, begin + seconds):
        before()
        one.look(now)


def test_one_that_is_silent_is_killed_and_replaced_with_one_line(observe, forks, caplog):
    one = observe("127.0.0.1:0")
    look_each_second(one, 100, int(SILENCE) + 1)
    assert forks.signals == []
    look_each_second(one, 100 + int(SILENCE) + 1, 2)
    (first, second) = forks.pids
    assert set(forks.signals) == {(first, signal.SIGKILL)}
    forks.ended[first] = 9
    one.collect({}, 200)
    (line,) = [record.getMessage() for record in caplog.records if "silent" in record.message]
    assert line == f"The observer (pid: {first}) was silent for more than 30 s (stopped, or stuck): it is replaced"
    assert "SIGKILL" not in caplog.text and second not in forks.ended


def test_one_that_beats_now_and_then_is_left_alone(observe, forks):
    one = observe("127.0.0.1:0")
    for begin in range(100, 500, 20):
        one._crew.slots.beat()
        look_each_second(one, begin, 20)
    assert (len(forks.pids), forks.signals) == (1, [])


def test_a_machine_that_has_slept_is_no_silence(observe, forks):
    one = observe("127.0.0.1:0")
    for now in (100, 101, 5000, 5001, 9000):
        one.look(now)
    assert (len(forks.pids), forks.signals) == (1, [])


def test_while_a_new_master_serves_the_observer_is_that_ones(observe, forks, state):
    one = observe("127.0.0.1:0")
    one.look(100)
    state.kin.successor = 7
    one.look(101)
    assert forks.signals == [(forks.pids[0], signal.SIGTERM)]
    forks.ended[forks.pids[0]] = 0
    one.collect({}, 101)
    one.look(102)
    assert (len(forks.pids), one.nap(102)) == (1, None)
    state.kin.successor = 0
    one.look(103)
    assert len(forks.pids) == 2


def test_workers_are_introduced(observe, state):
    one = observe("127.0.0.1:0")
    slot = one._crew.slots.take()
    worker = SimpleNamespace(pid=42, age=3, born=5, state=SimpleNamespace(value="ready"), slot=slot)
    state.children.add(worker)
    one.look(100)
    assert (slot.pid, slot.number, slot.born, slot.stage) == (42, 3, 5, "ready")
