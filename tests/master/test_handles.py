"""The master's bookkeeping of its workers, with real child processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from geventwsgi.master.handles import Children, Stage, WorkerHandle
from geventwsgi.system.children import describe_end
from geventwsgi.system.foreign_code import ForeignCode
from geventwsgi.system.signals import SignalPipe
from geventwsgi.worker.boot_report import READY, BootFailure
from tests.support.waiting import wait_until

#: xdist's workers have a thread; the child does nothing that could wait for it.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def make_handle(age=1):
    return WorkerHandle(age, os.getpid(), SimpleNamespace(), None, SimpleNamespace(beats=0))


def fork_and_exit(status):
    pid = os.fork()
    if pid == 0:
        os._exit(status)
    return pid


@pytest.fixture
def start():
    """Fork workers that run a function and then wait to be killed."""
    handles = []

    def start(children, action=lambda _pipe: None):
        handle = make_handle(len(handles) + 1)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                action(writer)
                os.close(writer)
                while True:
                    signal.pause()
            finally:
                os._exit(9)
        os.close(writer)
        os.set_blocking(reader, False)
        handle.pid, handle.pipe = pid, reader
        children.add(handle)
        handles.append(handle)
        return handle

    yield start
    for handle in handles:
        handle.hang_up()
        try:
            os.kill(handle.pid, signal.SIGKILL)
            os.waitpid(handle.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def test_worker_becomes_ready_when_it_says_so(start):
    worker = start(Children(), lambda pipe: os.write(pipe, READY))
    assert (worker.booted, worker.state, worker.lived(100)) == (False, Stage.BOOTING, 0)
    wait_until(lambda: worker.hear(100))
    assert (worker.booted, worker.state, worker.lived(103)) == (True, Stage.READY, 3)
    assert worker.pipe is None
    assert not worker.hear(104)


def test_worker_that_was_told_to_leave_while_it_booted_stays_leaving(start):
    worker = start(Children(), lambda pipe: os.write(pipe, READY))
    worker.leave(0, 200)
    wait_until(lambda: worker.hear(100))
    assert (worker.booted, worker.state) == (True, Stage.LEAVING)


def test_worker_tells_why_it_failed(start):
    failure = BootFailure(4, "x" * 1000, "y" * 100_000)

    def fail(pipe):
        with os.fdopen(pipe, "wb", closefd=False) as file:
            file.write(failure.encode())

    worker = start(Children(), fail)
    assert worker.failure is None
    wait_until(lambda: worker.hear(100) or worker.pipe is None)
    assert worker.failure == failure
    assert not worker.booted


def test_hooks_may_keep_what_they_like_on_a_worker():
    worker = make_handle()
    worker.number = 3
    worker.pid = 17
    assert worker.extras == {"number": 3}
    assert str(worker) == "Worker (pid: 17)"


def test_dead_are_collected_once_with_their_status(start):
    children = Children()
    first, second = start(children), start(children)
    assert children.collect({}) == []
    os.kill(first.pid, signal.SIGTERM)
    dead = wait_until(lambda: children.collect({}))
    assert [(worker, os.WTERMSIG(status)) for worker, status in dead] == [(first, signal.SIGTERM)]
    assert list(children) == [second]
    assert len(children) == 1


def test_other_children_of_a_script_are_left_to_it(start):
    children = Children()
    worker = start(children)
    other = fork_and_exit(5)
    os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: children.collect({}))
    assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 5


def test_first_process_of_a_container_collects_orphans(start, monkeypatch):
    children = Children()
    worker = start(children)
    orphans = [fork_and_exit(5), fork_and_exit(6)]
    monkeypatch.setattr("os.getpid", lambda: 1)

    def collected():
        assert children.collect({}) == []
        return not any(Path(f"/proc/{orphan}").exists() for orphan in orphans)

    wait_until(collected)
    assert list(children) == [worker]
    monkeypatch.undo()


def test_first_process_of_a_container_leaves_a_hooks_child_to_the_hook(monkeypatch):
    monkeypatch.setattr("os.getpid", lambda: 1)
    monkeypatch.setattr("os.readlink", lambda _path: "1")
    with SignalPipe([signal.SIGCHLD]), ForeignCode():
        hooks = fork_and_exit(5)
    orphan = fork_and_exit(6)

    def collected():
        assert Children().collect({}) == []
        return not Path(f"/proc/{orphan}").exists()

    wait_until(collected)
    monkeypatch.undo()
    assert os.waitstatus_to_exitcode(os.waitpid(hooks, 0)[1]) == 5


def test_worker_that_somebody_else_collected_is_dead_too(start):
    children = Children()
    worker = start(children)
    os.kill(worker.pid, signal.SIGKILL)
    os.waitpid(worker.pid, 0)
    assert children.collect({}) == [(worker, None)]
    worker.send(signal.SIGTERM)


def test_status_is_found_where_somebody_else_has_collected_it(start):
    children = Children()
    worker = start(children)
    os.kill(worker.pid, signal.SIGKILL)
    _, status = os.waitpid(worker.pid, 0)
    assert children.collect({worker.pid: status}) == [(worker, status)]


def test_status_that_nobody_knows_is_not_0():
    assert describe_end(None) == "has ended; its status was collected by other code in this process"


def test_overdue_are_killed_once(start):
    children = Children()
    first, second = start(children), start(children)
    first.leave(0, 200)
    second.leave(0, 300)
    assert children.next_kill() == 200
    assert children.kill_overdue(199) == []
    assert children.kill_overdue(200) == [first]
    assert children.next_kill() == 300
    wait_until(lambda: children.collect({}))


def test_earlier_deadline_holds():
    worker = make_handle()
    worker.leave(0, 200)
    worker.leave(0, 300)
    assert worker.kill_at == 200
    worker.abort(100)
    assert worker.kill_at == 100


def test_those_that_leave_do_not_stay(start):
    children = Children()
    first, second = start(children), start(children)
    first.leave(0, 200)
    assert children.staying() == [second]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "exited with status 0"),
        (3 << 8, "exited with status 3"),
        (signal.SIGTERM, "was killed by SIGTERM"),
        (signal.SIGKILL, "was killed by SIGKILL (out of memory?)"),
        (40, "was killed by signal 40"),
    ],
)
def test_end_is_described(status, text):
    assert describe_end(status) == text
