"""The crew where the system has no process left."""

from __future__ import annotations

import logging
import signal
from types import SimpleNamespace

import pytest

from geventwsgi.config.sources import Config
from geventwsgi.errors import WorkerBootError
from geventwsgi.master import crew as crew_module
from geventwsgi.master.crew import Crew
from geventwsgi.master.handles import Stage
from geventwsgi.master.state import State
from geventwsgi.worker.application import Application


def state_of_two():
    """Return the state of a master that is to have two workers."""
    cfg = Config.of(workers=2)
    state = State(Application(cfg))
    state.cfg, state.num_workers = cfg, 2
    state.log = logging.getLogger("test.crew")
    state.signals = SimpleNamespace(watch=lambda _fd: None, unwatch=lambda _fd: None)
    return state


class FakeListener:
    """What a crew sees of a listener with a socket for each seat: how many it is to have."""

    spreads = True
    socks = ()

    def __init__(self):
        self.sockets = []
        self.provide = self.withdraw = self.sockets.append


@pytest.fixture
def state():
    return state_of_two()


def no_process(*_args):
    raise OSError(11, "Resource temporarily unavailable")


def test_fork_that_fails_is_told_and_its_slot_is_free_again(state, monkeypatch):
    monkeypatch.setattr(crew_module, "spawn", no_process)
    crew = Crew(state)
    for _ in range(5000):
        with pytest.raises(WorkerBootError, match=r"^no worker can be started: Resource temporarily unavailable$"):
            crew.start(state.cfg, [])
    assert len(crew.children) == 0


def test_fork_that_fails_at_the_start_ends_the_server(state, monkeypatch):
    monkeypatch.setattr(crew_module, "spawn", no_process)
    failure = Crew(state).keep(1000)
    assert (failure.status, failure.line[:25]) == (3, "no worker can be started:")


def test_fork_that_fails_later_is_tried_again(state, monkeypatch, caplog):
    crew = Crew(state)

    def pretend(_state, handle, _listeners):
        return 2**30 + handle.age, None  # no process has it

    monkeypatch.setattr(crew_module, "spawn", pretend)
    crew.keep(1000)
    assert len(crew.regular()) == 2
    first = crew.regular()[0]
    first.ready_at, crew._served = 1000, True
    del crew.children.by_pid[first.pid]
    monkeypatch.setattr(crew_module, "spawn", no_process)
    assert crew.keep(1001) is None
    assert "could not boot, next try in 0.5 s: no worker can be started" in caplog.text
    assert crew.nap(1001, stopping=False) == 0.5
    assert crew.nap(1001, stopping=True) == 1  # the watchdog's


@pytest.fixture
def crew(state, monkeypatch):
    """A crew whose workers are mere handles; ``crew.sent`` has the signals that they were sent."""
    crew = Crew(state)
    crew.sent = []
    monkeypatch.setattr(crew_module, "spawn", lambda _state, handle, _listeners: (handle.age, None))
    monkeypatch.setattr("os.kill", lambda pid, number: crew.sent.append((pid, number)))
    yield crew
    for worker in crew.children:
        worker.close()


def be_ready(crew, now):
    for worker in crew.children.staying():
        worker.ready_at, worker.state = now, Stage.READY


def ages(workers):
    return [worker.age for worker in workers]


def test_surplus_is_dismissed_oldest_first(crew, state):
    state.num_workers = 4
    crew.keep(1000)
    be_ready(crew, 1000)
    state.num_workers = 2
    crew.keep(1001)
    assert crew.sent == [(1, signal.SIGTERM), (2, signal.SIGTERM)]
    assert ages(crew.regular()) == [3, 4]


@pytest.mark.parametrize(("status", "told"), [(signal.SIGKILL, True), (3 << 8, True), (0, False)])
def test_a_crash_on_the_way_out_is_told(crew, state, caplog, status, told):
    """Its requests are lost, as those of any worker that crashes."""
    crew.keep(1000)
    be_ready(crew, 1000)
    (leaving, _) = crew.regular()
    crew.dismiss(leaving)
    crew.bury(leaving, status, 1001)
    assert bool(caplog.records) == told


@pytest.mark.parametrize(
    ("obeys", "status", "level"), [(True, 0, "INFO"), (True, 1 << 8, "ERROR"), (False, 0, "ERROR")]
)
def test_an_end_without_the_master_is_no_error_if_a_signal_told_it(crew, state, caplog, obeys, status, level):
    caplog.set_level(logging.INFO)
    crew.keep(1000)
    be_ready(crew, 1000)
    (worker, _) = crew.regular()
    if obeys:
        worker.slot.obey()
    del crew.children.by_pid[worker.pid]
    crew.bury(worker, status, 1001)
    assert [record.levelname for record in caplog.records] == [level]


def test_the_end_of_one_that_the_master_has_killed_is_told_once(crew, state, caplog):
    crew.keep(1000)
    be_ready(crew, 1000)
    (leaving, _) = crew.regular()
    crew.dismiss(leaving)
    crew.watch(leaving.kill_at)
    crew.bury(leaving, signal.SIGKILL, 1001)
    assert [record.getMessage() for record in caplog.records] == [f"{leaving} did not end in time and is killed"]


def test_surplus_that_still_boots_goes_youngest_first_and_leaves_those_that_serve(crew, state):
    crew.keep(1000)
    be_ready(crew, 1000)
    state.num_workers = 5
    crew.keep(1001)
    state.num_workers = 3
    crew.keep(1002)
    assert crew.sent == [(5, signal.SIGTERM), (4, signal.SIGTERM)]
    assert ages(crew.regular()) == [1, 2, 3]


@pytest.mark.parametrize(("surge", "workers", "started"), [("1", 4, 1), ("2", 4, 2), ("50%", 4, 2), ("1%", 4, 1)])
def test_workers_that_are_due_serve_until_their_successors_do(crew, state, surge, workers, started):
    state.cfg = Config.of(workers=workers, reload_surge=surge)
    state.num_workers = workers
    crew.keep(1000)
    be_ready(crew, 1000)
    crew.renew(crew.regular(), "old")
    crew.keep(1001)
    assert ages(crew.regular()) == [1, 2, 3, 4, 5, 6][: workers + started]
    assert crew.turning()
    crew.keep(1002)
    assert not crew.sent
    be_ready(crew, 1003)
    crew.keep(1003)
    assert crew.sent == [(age, signal.SIGTERM) for age in (1, 2)[:started]]


def test_turn_ends_with_as_many_fresh_workers_as_there_were(crew, state):
    crew.keep(1000)
    be_ready(crew, 1000)
    crew.renew(crew.regular(), "old")
    for now in range(1001, 1006):
        crew.keep(now)
        be_ready(crew, now)
        assert len([worker for worker in crew.regular() if worker.booted]) >= 2
    assert ages(crew.regular()) == [3, 4]
    assert not crew.turning()


def test_failing_successor_is_tried_again_while_the_due_serve(crew, state, caplog):
    crew.keep(1000)
    be_ready(crew, 1000)
    crew._served = True
    crew.renew(crew.regular(), "old")
    crew.keep(1001)
    (successor,) = (worker for worker in crew.regular() if not worker.booted)
    del crew.children.by_pid[successor.pid]
    crew.bury(successor, 4 << 8, 1001)
    crew.keep(1001)
    assert ages(crew.regular()) == [1, 2]
    assert crew.nap(1001, stopping=False) == 0.5
    crew.keep(1001.5)
    assert ages(crew.regular()) == [1, 2, 4]


def test_seat_is_passed_on_to_the_successor(crew, state):
    state.LISTENERS = [FakeListener()]
    crew.keep(1000)
    be_ready(crew, 1000)
    first, second = crew.regular()
    assert (first.seat, second.seat) == (0, 1)
    crew.renew([second], "old")
    crew.keep(1001)
    be_ready(crew, 1001)
    crew.keep(1001)
    assert crew.sent == [(2, signal.SIGTERM)]
    assert [(worker.age, worker.seat) for worker in crew.regular()] == [(1, 0), (3, 1)]


def test_seat_that_nobody_will_have_is_swept(crew, state):
    listener = FakeListener()
    state.LISTENERS = [listener]
    crew.keep(1000)
    be_ready(crew, 1000)
    first, second = crew.regular()
    state.num_workers = 1
    crew.keep(1001)
    assert crew.sent == [(second.pid, signal.SIGTERM)]
    assert (first.slot.sweep, second.slot.sweep) == (False, True)
    assert listener.sockets == [1, 2, 2, 1]
