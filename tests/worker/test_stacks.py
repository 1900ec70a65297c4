"""What a worker tells of its greenlets."""

from __future__ import annotations

import gc
import sys

import gevent
import pytest
from gevent import get_hub
from gevent.event import Event

from geventwsgi.serving.loop.runners import Runners, Sleeper
from geventwsgi.serving.wire.outbox import outbox_of
from geventwsgi.worker import stacks
from geventwsgi.worker.patching.patch import _sleep as sleep
from geventwsgi.worker.stacks import describe


def waits_here(event):
    event.wait()


@pytest.fixture
def event():
    return Event()


@pytest.fixture
def waiting(event):
    greenlets = [gevent.spawn(waits_here, event) for _ in range(3)]
    gevent.sleep(0)
    yield greenlets
    event.set()
    gevent.joinall(greenlets)


def places(told):
    return [who for who, stack in told if "waits_here" in stack]


def test_running_greenlet_comes_first_with_its_request():
    who, stack = describe(sys._getframe(), {gevent.getcurrent(): "GET /slow"})[0]
    assert who == "was serving GET /slow"
    assert "test_running_greenlet_comes_first" in stack


def test_greenlets_at_one_place_are_told_of_once_with_their_requests(waiting):
    requests = {waiting[0]: "GET /1", waiting[2]: "GET /2"}
    (who,) = places(describe(sys._getframe(), requests))
    assert who in {f"has 3 greenlets serving {a}, {b}" for a, b in (("GET /1", "GET /2"), ("GET /2", "GET /1"))}


def test_a_stack_that_many_greenlets_have_is_written_once(waiting, monkeypatch):
    written = []
    monkeypatch.setattr(stacks, "application_stack", lambda frame: written.append(frame) or "waits_here")
    describe(sys._getframe(), dict.fromkeys(waiting, "GET /"))
    assert sum(frame is not None and frame in [one.gr_frame for one in waiting] for frame in written) == 1


def test_many_requests_at_one_place_are_counted(waiting, monkeypatch):
    monkeypatch.setattr(stacks, "REQUESTS", 1)
    (who,) = places(describe(sys._getframe(), dict.fromkeys(waiting, "GET /")))
    assert who == "has 3 greenlets serving GET / and 2 others"


def test_greenlet_without_a_request_is_told_of(event):
    greenlet = gevent.spawn(waits_here, event)
    gevent.sleep(0)
    assert places(describe(sys._getframe(), {})) == ["has 1 greenlet"]
    event.set()
    greenlet.join()


def test_greenlet_that_sleeps_by_the_function_that_stands_in_for_gevents_is_told_of(event):
    def waits_here():
        sleep(lambda _seconds, _ref: event.wait())

    greenlet = gevent.spawn(waits_here)
    gevent.sleep(0)
    assert places(describe(sys._getframe(), {})) == ["has 1 greenlet"]
    event.set()
    greenlet.join()


def test_responses_that_are_held_without_a_greenlet_are_counted():
    who, _ = describe(sys._getframe(), {object(): "GET /1", object(): "GET /2"})[-1]
    assert who == "holds 2 responses serving GET /1, GET /2"


def test_a_main_greenlet_that_waits_in_others_code_is_told_of():
    told = gevent.spawn(lambda: describe(sys._getframe(), {})).get()
    assert any("test_a_main_greenlet_that_waits" in stack for who, stack in told[1:] if who == "has 1 greenlet")


def test_greenlets_that_were_frozen_are_told_of(waiting):
    gc.freeze()
    try:
        assert places(describe(sys._getframe(), {})) == ["has 3 greenlets"]
    finally:
        gc.unfreeze()


class Passing(Sleeper):
    """A request that is done as soon as it is begun."""

    def run(self):
        self.ran = id(self.greenlet)  # a runner that somebody refers to, weakly or not, does not go on
        self.greenlet = None


def test_greenlets_that_only_wait_for_work_are_no_news():
    passing = Passing()
    Runners(outbox_of(get_hub())).give(passing)
    gevent.sleep(0)
    before = len(describe(sys._getframe(), {}))
    (runner,) = [found for found in gc.get_objects() if id(found) == passing.ran]
    assert len(describe(sys._getframe(), {runner: "GET /"})) == before + 1
