"""A function that runs in one worker, whatever becomes of the workers; tasks that a worker finishes."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time

import pytest
import requests

from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

APP = "tests.support.apps.singles:application"


@pytest.fixture
def marks(tmp_path):
    return tmp_path / "marks"


@pytest.fixture
def start(marks):
    marks.touch()
    return lambda *args: Gwsgi(*args, app=APP, env={"MARKS": str(marks)})


def entries(marks):
    """Return what was noted: time, pid, text."""
    lines = [line.split(" ", 2) for line in marks.read_text().splitlines()]
    return [(float(when), int(pid), text) for when, pid, text in lines]


def runner(marks):
    return next((pid for _, pid, text in reversed(entries(marks)) if text == "begin"), None)


def reload(server, _marks):
    count = server.log_text().count("Reload: done")
    server.signal(signal.SIGHUP)
    server.wait_log("Reload: done", 30, count + 1)


def kill(server, marks):
    dead = runner(marks)
    os.kill(dead, signal.SIGKILL)
    wait_until(lambda: dead not in server.worker_pids() and len(server.worker_pids()) == 3, 30)


def shrink(server, _marks):
    """One worker less, the oldest, and one more."""
    server.signal(signal.SIGTTOU)
    wait_until(lambda: len(server.worker_pids()) == 2, 30)
    server.signal(signal.SIGTTIN)
    wait_until(lambda: len(server.worker_pids()) == 3, 30)


def pause(_server, marks):
    pid = runner(marks)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.7)  # longer than the others need to try it
    os.kill(pid, signal.SIGCONT)


CHANGES = [reload, kill, shrink, pause]


@pytest.mark.alone
@pytest.mark.timeout(1200)
def test_never_twice_and_never_long_without(request, start, marks):
    changes = request.config.getoption("--changes")
    with start("-w", "3") as server:
        wait_until(lambda: runner(marks), 30)
        for number in range(changes):
            change = CHANGES[number % len(CHANGES)] if number < len(CHANGES) else random.choice(CHANGES)
            change(server, marks)
            now = time.monotonic()
            wait_until(lambda now=now: any(text == "runs" and when > now for when, _, text in entries(marks)), 30)
        server.stop()
    noted = entries(marks)
    times = [when for when, _, text in noted if text in ("begin", "runs")]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert not [text for _, _, text in noted if text == "twice"]
    assert max(gaps) < 2


def test_with_preload_it_runs_in_a_worker(start, marks):
    with start("-w", "2", "--preload") as server:
        wait_until(lambda: runner(marks), 30)
        assert runner(marks) in server.worker_pids()


def test_at_the_end_it_ends(start, marks):
    with start("-w", "2") as server:
        wait_until(lambda: runner(marks), 30)
        assert server.stop() == 0
    assert entries(marks)[-1][2] == "end"


def test_a_task_is_finished_before_the_worker_ends(start, marks):
    with start() as server:
        requests.get(f"{server.url}/task?0.5", timeout=10)
        assert server.stop() == 0
        assert "was cut" not in server.log_text()
    assert "task ends" in [text for *_, text in entries(marks)]


def test_a_task_that_is_late_is_cut_and_named(start, marks):
    with start("--graceful-timeout", "0.3") as server:
        requests.get(f"{server.url}/task?60", timeout=10)
        server.stop()
        assert "The background task task was cut after 0.3 s of graceful_timeout" in server.log_text()
    assert "task ends" not in [text for *_, text in entries(marks)]


def test_a_dump_names_the_task(start, marks):
    with start() as server:
        requests.get(f"{server.url}/task?60", timeout=10)
        wait_until(lambda: "task begins" in marks.read_text(), 10)
        server.signal(signal.SIGUSR2, server.worker_pids()[0])
        server.wait_log("serving the background task task at:")
        server.signal(signal.SIGQUIT)
        server.wait()
