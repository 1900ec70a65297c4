"""``background``: what a worker waits for at its end."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event

from geventwsgi.mesh.place import HERE
from geventwsgi.workers import background
from geventwsgi.workers.tasks import finish


@pytest.fixture(autouse=True)
def no_tasks(monkeypatch):
    monkeypatch.setattr(HERE, "tasks", {})


def test_the_greenlet_has_the_value():
    assert background(lambda a, b: a + b, 1, b=2).get(timeout=5) == 3


def test_it_has_a_name_while_it_runs():
    task = background(Event().wait)
    assert list(HERE.tasks.values()) == ["Event.wait"]
    task.kill()
    gevent.sleep(0)
    assert not HERE.tasks


def test_a_function_without_a_name():
    class Work:
        def __call__(self):
            Event().wait()

        def __repr__(self):
            return "<work>"

    task = background(Work())
    assert list(HERE.tasks.values()) == ["<work>"]
    task.kill()


def test_finish_waits_for_it():
    done = []
    background(lambda: (gevent.sleep(0.02), done.append(1)))
    assert (finish(5), done) == ([], [1])


def test_finish_waits_for_those_that_begin_meanwhile():
    done = []
    background(lambda: (gevent.sleep(0.01), background(lambda: (gevent.sleep(0.01), done.append(1)))))
    assert (finish(5), done) == ([], [1])


def test_finish_ends_what_is_late():
    ended = Event()

    def work():
        try:
            Event().wait()
        finally:
            ended.set()

    background(work)
    gevent.sleep(0)
    assert finish(0.01) == ["test_finish_ends_what_is_late.<locals>.work"]
    assert ended.wait(5)


def test_finish_with_no_time_left():
    background(Event().wait)
    assert finish(-1.0) == ["Event.wait"]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
def test_a_failure_is_logged(monkeypatch, error):
    lines = []
    monkeypatch.setattr(HERE, "_complain", lambda text, *args, exc_info: lines.append((text % args, exc_info)))

    def work():
        raise error

    assert background(work).get(timeout=5) is None
    assert lines == [("The background task test_a_failure_is_logged.<locals>.work failed", error)]
