"""The crew where the system has no process left."""

from __future__ import annotations

import logging
import os
import signal
from types import SimpleNamespace

import pytest

from geventwsgi.config.sources import Config
from geventwsgi.errors import WorkerBootError
from geventwsgi.master import crew as crew_module
from geventwsgi.master.crew import Crew


class FakeArbiter:
    """What a crew sees of its arbiter."""

    def __init__(self):
        self.cfg = Config.of(workers=2)
        self.log = logging.getLogger("test.crew")
        self.pid = os.getpid()
        self.num_workers = 2
        self.LISTENERS = []
        self.stopping = False
        self.signals = SimpleNamespace(watch=lambda _fd: None, unwatch=lambda _fd: None)
        self.failures = []

    def give_up(self, failure):
        self.failures.append(failure)
        self.stopping = True


@pytest.fixture
def arbiter():
    return FakeArbiter()


def no_process(*_args):
    raise OSError(11, "Resource temporarily unavailable")


def test_fork_that_fails_is_told_and_its_slot_is_free_again(arbiter, monkeypatch):
    monkeypatch.setattr(crew_module, "spawn", no_process)
    crew = Crew(arbiter)
    for _ in range(5000):
        with pytest.raises(WorkerBootError, match=r"^no worker can be started: Resource temporarily unavailable$"):
            crew.start(arbiter.cfg, [])
    assert len(crew.children) == 0


def test_fork_that_fails_at_the_start_ends_the_server(arbiter, monkeypatch):
    monkeypatch.setattr(crew_module, "spawn", no_process)
    Crew(arbiter).keep(1000)
    assert [(failure.status, failure.line[:25]) for failure in arbiter.failures] == [(3, "no worker can be started:")]


def test_fork_that_fails_later_is_tried_again(arbiter, monkeypatch, caplog):
    crew = Crew(arbiter)

    def pretend(_arbiter, handle, _listeners):
        handle.pid = 2**30 + handle.age  # no process has it

    monkeypatch.setattr(crew_module, "spawn", pretend)
    crew.keep(1000)
    assert len(crew.regular()) == 2
    first = crew.regular()[0]
    first.ready_at, crew._served = 1000, True
    del crew.children.by_pid[first.pid]
    monkeypatch.setattr(crew_module, "spawn", no_process)
    crew.keep(1001)
    assert not arbiter.failures
    assert "could not boot, next try in 0.5 s: no worker can be started" in caplog.text
    assert crew.nap(1001, stopping=False) == 0.5
    assert crew.nap(1001, stopping=True) == 1  # the watchdog's


def test_surplus_is_dismissed_oldest_first(arbiter, monkeypatch):
    sent = []
    monkeypatch.setattr(crew_module, "spawn", lambda _arbiter, handle, _listeners: setattr(handle, "pid", handle.age))
    monkeypatch.setattr("os.kill", lambda pid, number: sent.append((pid, number)))
    crew = Crew(arbiter)
    arbiter.num_workers = 4
    crew.keep(1000)
    arbiter.num_workers = 2
    crew.keep(1001)
    assert sent == [(1, signal.SIGTERM), (2, signal.SIGTERM)]
    assert [worker.age for worker in crew.regular()] == [3, 4]
