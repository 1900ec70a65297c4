"""Calls for many: in order, a slice at a time, each whatever becomes of the others."""

from __future__ import annotations

import gevent
import pytest

from geventwsgi import fanout
from geventwsgi.due import Due
from geventwsgi.fanout import Fanout, fanout_of
from tests.support.eventually import eventually


class Named(Due):
    def __init__(self, calls, name, seconds=0.0):
        self.calls, self.name, self.seconds = calls, name, seconds

    def advance(self):
        self.calls.append(self.name)
        if self.name == "broken":
            raise RuntimeError("on purpose")


@pytest.fixture
def one():
    return Fanout(gevent.get_hub())


def test_there_is_one_for_each_hub():
    assert fanout_of() is fanout_of(gevent.get_hub())


def test_calls_are_in_order_and_callbacks_after_what_came_before(one):
    calls = []
    one.add(Named(calls, 1))
    one.then(lambda: calls.append("then"))
    one.add(Named(calls, 2))
    assert calls == []
    eventually(lambda: calls == [1, "then", 2])


def test_a_call_that_fails_is_reported_and_the_others_follow(one, monkeypatch):
    calls, reported = [], []
    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda _context, *error: reported.append(error[0]), False)
    for name in ("broken", 2):
        one.add(Named(calls, name))
    eventually(lambda: calls == ["broken", 2] and reported == [RuntimeError])


def test_a_report_that_fails_keeps_nobody_from_being_called(one, monkeypatch):
    def fails(*_):
        raise OSError("the application's own report")

    calls = []
    monkeypatch.setattr(gevent.get_hub(), "handle_error", fails, False)
    one.add(Named(calls, "broken"))
    eventually(lambda: calls == ["broken"])
    one.add(Named(calls, 2))
    eventually(lambda: calls == ["broken", 2])


def test_the_loop_turns_between_two_slices():
    one, calls = Fanout(gevent.get_hub(), 0.0), []
    for name in range(3 * fanout.LOOK):
        one.add(Named(calls, name))
    gevent.sleep(0)
    assert len(calls) == fanout.LOOK
    eventually(lambda: len(calls) == 3 * fanout.LOOK)
    assert calls == sorted(calls)


def test_a_process_that_is_forked_calls_nobody(one):
    calls = []
    one.add(Named(calls, 1))
    one.let_go()
    gevent.sleep(0.01)
    assert calls == []
