"""Server hooks in real processes: each at its moment, in its process, with its arguments."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support import inflight
from tests.support.process import Gwsgi, run_gwsgi
from tests.support.waiting import wait_until

APP = "tests.support.apps.processes:application"

#: Each hook appends a line: its name, the process, and what it could see of its arguments.
CONFIG = """
import os

def note(*words):
    with open({path!r}, "a") as file:
        print(os.getpid(), *words, file=file)

def on_starting(server):
    note("on_starting", server.pid, len(server.LISTENERS))
def when_ready(server):
    note("when_ready", len(server.LISTENERS), len(server.WORKERS))
def on_reload(server):
    note("on_reload", len(server.WORKERS))
def nworkers_changed(server, new_value, old_value):
    note("nworkers_changed", new_value, old_value)
def pre_fork(server, worker):
    worker.number = 100 + worker.age
    note("pre_fork", worker.pid, worker.age)
def post_fork(server, worker):
    note("post_fork", server.pid, worker.pid, worker.age, worker.number, worker.booted)
def post_worker_init(worker):
    note("post_worker_init", worker.pid, callable(worker.wsgi))
def worker_int(worker):
    note("worker_int", worker.pid)
def worker_abort(worker):
    note("worker_abort", worker.pid)
def pre_request(worker, req):
    note("pre_request", worker.pid, req.method, req.path)
def post_request(worker, req, environ, resp):
    note("post_request", worker.pid, req.path, environ["PATH_INFO"], resp.status)
def worker_exit(server, worker):
    note("worker_exit", server.pid, worker.pid)
def child_exit(server, worker):
    note("child_exit", server.pid, worker.pid, worker.number)
def on_exit(server):
    note("on_exit", len(server.WORKERS))
"""


@pytest.fixture
def noted(tmp_path):
    """What the hooks have noted: a list of (pid, name, *words)."""
    path = tmp_path / "notes"

    def read():
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(pid), *words) for pid, *words in map(str.split, lines)]

    read.config = CONFIG.format(path=str(path))
    read.calls = lambda name: [(pid, *words) for pid, found, *words in read() if found == name]
    return read


def test_every_hook_of_one_life(noted):
    with Gwsgi(app=APP, config=noted.config) as server:
        (worker,) = server.worker_pids()
        inflight.get(server.url, "/pid")
        wait_until(lambda: noted.calls("post_request"))
        assert server.stop() == 0
        master = server.pid
    m, w = str(master), str(worker)
    assert noted() == [
        (master, "on_starting", m, "0"),
        (master, "nworkers_changed", "1", "None"),
        (master, "when_ready", "1", "0"),
        (master, "pre_fork", "[booting]", "1"),
        (worker, "post_fork", m, w, "1", "101", "False"),
        (worker, "post_worker_init", w, "True"),
        (worker, "pre_request", w, "GET", "/pid"),
        (worker, "post_request", w, "/pid", "/pid", "200", "OK"),
        (worker, "worker_exit", m, w),
        (master, "child_exit", m, w, "101"),
        (master, "on_exit", "0"),
    ]


def test_hooks_of_a_changing_number_and_of_a_reload(noted):
    with Gwsgi("-w", "2", app=APP, config=noted.config) as server:
        master = server.pid
        server.signal(signal.SIGTTIN)
        server.wait_ready(3)
        server.signal(signal.SIGTTOU)
        wait_until(lambda: len(noted.calls("child_exit")) == 1)
        server.signal(signal.SIGHUP)
        server.wait_log("Reload: done")
        wait_until(lambda: len(noted.calls("child_exit")) == 3)
        assert noted.calls("nworkers_changed") == [(master, "2", "None"), (master, "3", "2"), (master, "2", "3")]
        assert noted.calls("on_reload") == [(master, "2")]
        assert [call[2] for call in noted.calls("pre_fork")] == ["1", "2", "3", "4", "5"]


def test_worker_int_in_a_worker_that_is_told_to_end_at_once(noted):
    with Gwsgi("-w", "2", app=APP, config=noted.config) as server:
        workers = server.worker_pids()
        server.stop(signal.SIGQUIT)
    assert sorted(noted.calls("worker_int")) == [(worker, str(worker)) for worker in workers]
    assert sorted(pid for pid, *_ in noted.calls("worker_exit")) == workers


def test_worker_abort_in_a_worker_that_is_blocked(noted):
    with Gwsgi("--timeout", "1", app=APP, config=noted.config) as server, inflight.requests() as get:
        (worker,) = server.worker_pids()
        get(server.url, "/block?60")
        server.wait_ready(2)
        assert noted.calls("worker_abort") == [(worker, str(worker))]
        assert noted.calls("worker_exit") == [(worker, str(server.pid), str(worker))]


# Hooks that fail


@pytest.mark.parametrize(
    ("hook", "status"),
    [
        ("on_starting(server)", 2),
        ("when_ready(server)", 2),
        ("pre_fork(server, worker)", 3),
        ("post_fork(server, worker)", 3),
        ("post_worker_init(worker)", 3),
    ],
)
def test_failure_of_a_hook_at_the_start_ends_the_server(hook, status, tmp_path):
    name = hook.partition("(")[0]
    pid = tmp_path / "pid"
    done = run_gwsgi("-w", "2", "--pid", str(pid), app=APP, config=f"def {hook}:\n    raise KeyError('oh')\n")
    assert done.returncode == status
    assert done.stderr.count(f"the {name} hook failed: KeyError: 'oh'") == 1
    assert done.stderr.count("Traceback") == 1
    assert 'test.conf.py", line 2, in' in done.stderr
    assert "geventwsgi/" not in done.stderr
    assert not pid.exists()


@pytest.mark.parametrize("failure", ["raise ValueError('oh')", "import sys; sys.exit(9)"])
def test_failure_of_a_hook_after_the_event_changes_nothing(failure):
    hooks = ["nworkers_changed(server, new, old)", "child_exit(server, worker)", "worker_exit(server, worker)"]
    hooks += ["worker_int(worker)", "on_exit(server)"]
    config = "".join(f"def {hook}:\n    {failure}\n" for hook in hooks)
    with Gwsgi(app=APP, config=config) as server:
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        server.wait_ready(2)
        assert server.stop(signal.SIGINT) == 0
        log = server.log_text()
        counts = {hook.partition("(")[0]: log.count(f"the {hook.partition('(')[0]} hook failed: ") for hook in hooks}
        assert counts == {"nworkers_changed": 1, "child_exit": 2, "worker_exit": 1, "worker_int": 1, "on_exit": 1}


def test_failure_of_worker_abort_does_not_save_a_blocked_worker():
    config = "def worker_abort(worker):\n    raise ValueError('oh')\n"
    with Gwsgi("--timeout", "1", app=APP, config=config) as server, inflight.requests() as get:
        get(server.url, "/block?60")
        server.wait_ready(2)
        assert "the worker_abort hook failed: ValueError: oh" in server.log_text()
