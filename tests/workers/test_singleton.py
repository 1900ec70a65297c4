"""``once`` in one process, with the claims of others."""

from __future__ import annotations

import itertools

import gevent
import pytest
from gevent.event import Event

from geventwsgi.clock import monotonic
from geventwsgi.mesh.place import HERE
from geventwsgi.workers import once, singleton


class FakeClaims:
    """Claims of which others have those in ``others``."""

    def __init__(self):
        self.others, self.held = set(), set()

    def take(self, name):
        if name in self.others:
            return False
        self.held.add(name)
        return True

    def give_back(self, name):
        self.held.discard(name)


@pytest.fixture
def claims(monkeypatch):
    """Be a worker that is about to serve."""
    made = FakeClaims()
    monkeypatch.setattr(singleton, "INTERVAL", 0.01)
    monkeypatch.setattr(singleton, "_known", {})
    monkeypatch.setattr(HERE, "claims", made)
    monkeypatch.setattr(HERE, "arrived", False)
    monkeypatch.setattr(HERE, "_leavers", [])
    yield made
    HERE.leave()
    HERE.depart()


class Work:
    """A function that runs until it is told to end."""

    def __init__(self):
        self.begun, self.ended = Event(), Event()
        self.calls = 0

    def __call__(self, *args):
        self.calls += 1
        self.args = args
        self.begun.set()
        try:
            Event().wait()
        finally:
            self.ended.set()


def test_it_begins_when_the_worker_serves(claims):
    work = Work()
    once("a", work, 1, 2)
    gevent.sleep(0.02)
    assert not work.calls
    HERE.arrive()
    assert work.begun.wait(5) and work.args == (1, 2)


def test_it_begins_at_once_in_a_worker_that_serves(claims):
    HERE.arrive()
    work = Work()
    once("a", work)
    assert work.begun.wait(5)


def test_it_waits_while_another_worker_has_the_claim(claims):
    claims.others.add("a")
    work = Work()
    once("a", work)
    HERE.arrive()
    gevent.sleep(0.05)
    assert not work.calls


def test_it_begins_when_the_other_has_given_it_back(claims):
    claims.others.add("a")
    work = Work()
    once("a", work)
    HERE.arrive()
    claims.others.clear()
    assert work.begun.wait(5)


def test_it_ends_with_the_worker_and_gives_the_claim_back(claims):
    work = Work()
    once("a", work)
    HERE.arrive()
    work.begun.wait(5)
    HERE.leave()
    HERE.depart()
    assert (work.ended.is_set(), claims.held) == (True, set())


def test_the_claim_is_kept_while_the_function_cleans_up(claims):
    begun, cleaning, done = Event(), Event(), Event()

    def work():
        try:
            begun.set()
            Event().wait()
        finally:
            cleaning.set()
            done.wait()

    once("a", work)
    HERE.arrive()
    begun.wait(5)
    HERE.leave()
    cleaning.wait(5)
    assert claims.held == {"a"}
    done.set()


def test_a_function_that_returns_is_not_called_again(claims):
    calls = []
    once("a", lambda: calls.append(1))
    HERE.arrive()
    gevent.sleep(0.05)
    assert (calls, claims.held) == ([1], {"a"})


def test_its_claim_is_given_back_at_the_end(claims):
    once("a", lambda: None)
    HERE.arrive()
    gevent.sleep(0.02)
    HERE.leave()
    assert claims.held == set()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
def test_a_failure_is_logged_and_it_is_called_again(claims, monkeypatch, error):
    lines, second = [], Event()
    monkeypatch.setattr(HERE, "_complain", lambda text, *args, exc_info: lines.append((text % args, exc_info)))

    def work():
        if lines:
            second.set()
            Event().wait()
        raise error

    once("a", work)
    HERE.arrive()
    assert second.wait(5)
    assert lines == [("once('a') failed and is tried again", error)]


def test_one_that_fails_again_and_again_is_called_less_and_less_often(claims, monkeypatch):
    monkeypatch.setattr(HERE, "_complain", lambda *_, **__: None)
    times, enough = [], Event()

    def work():
        times.append(monotonic())
        if len(times) == 5:
            enough.set()
            Event().wait()
        raise ValueError

    once("a", work)
    HERE.arrive()
    assert enough.wait(10)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert [gap >= 0.0099 * 2**number for number, gap in enumerate(gaps)] == [True] * 4


def test_a_name_is_there_once(claims):
    once("a", print)
    with pytest.raises(ValueError, match="has a function already in this process"):
        once("a", print)


def test_it_is_a_decorator(claims):
    @once("a")
    def work():
        return 5

    assert work() == 5


def test_without_a_master_it_begins_at_once(claims, monkeypatch):
    monkeypatch.setattr(HERE, "claims", None)
    work = Work()
    once("a", work)
    assert work.begun.wait(5)
