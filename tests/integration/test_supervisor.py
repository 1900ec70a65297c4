"""Under a real supervisord: start, restart, stop, a killed master; no process is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.client import Client
from tests.support.supervisord import Supervisord, find_supervisord
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(find_supervisord() is None, reason="supervisor is not installed")

PROGRAM = f"""
[program:web]
command = {sys.executable} -m geventwsgi --workers 2 --bind unix:DIRECTORY/socket tests.support.fullapps.big_apps:app
directory = DIRECTORY
stopsignal = TERM
stopwaitsecs = 30
redirect_stderr = true
stdout_logfile = DIRECTORY/web.log
"""


@pytest.fixture
def supervisord() -> Iterator[Supervisord]:
    with Supervisord(PROGRAM) as supervisord:
        try:
            wait_until(lambda: answers(supervisord), 30, supervisord.text)
            yield supervisord
        finally:
            supervisord.shut_down()
            for pid in processes(supervisord):  # none, unless the test failed
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def answers(supervisord: Supervisord) -> int | None:
    """Return the pid of the worker that answers, None if none does."""
    with contextlib.suppress(OSError), Client(f"unix:{supervisord.directory}/socket", timeout=10) as client:
        return int(client.get("/").text)
    return None


def processes(supervisord: Supervisord) -> list[int]:
    """Return the pids of gwsgi's master and workers, told by their working directory (titles may change)."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and (entry / "cwd").readlink() == supervisord.directory:
                found.append(int(entry.name))
    return sorted(found)


def master(supervisord: Supervisord) -> int:
    """Return the pid that supervisord knows."""
    return int(supervisord.control("pid", "web"))


def test_starts_a_master_and_its_workers(supervisord: Supervisord) -> None:
    wait_until(lambda: "RUNNING" in supervisord.control("status"), 30, supervisord.text)
    wait_until(lambda: len(processes(supervisord)) == 3, 30, supervisord.text)
    assert master(supervisord) in processes(supervisord)


def test_restart_replaces_every_process(supervisord: Supervisord) -> None:
    wait_until(lambda: len(processes(supervisord)) == 3, 30, supervisord.text)
    before = processes(supervisord)
    supervisord.control("restart", "web")
    wait_until(lambda: answers(supervisord), 30, supervisord.text)
    wait_until(lambda: len(processes(supervisord)) == 3, 30, supervisord.text)
    assert not set(before) & set(processes(supervisord))


def test_stop_leaves_no_process_and_start_serves_again(supervisord: Supervisord) -> None:
    supervisord.control("stop", "web")
    assert processes(supervisord) == []
    assert "exited: web" not in supervisord.text()  # it was stopped, it did not fail
    assert not Path(supervisord.directory, "socket").exists()
    supervisord.control("start", "web")
    wait_until(lambda: answers(supervisord), 30, supervisord.text)


def test_workers_of_a_killed_master_end_and_a_new_master_serves(supervisord: Supervisord) -> None:
    wait_until(lambda: len(processes(supervisord)) == 3, 30, supervisord.text)
    before = processes(supervisord)
    os.kill(master(supervisord), signal.SIGKILL)
    wait_until(lambda: not set(before) & set(processes(supervisord)), 30, supervisord.text)
    wait_until(lambda: answers(supervisord), 30, supervisord.text)


def test_end_of_supervisord_ends_all(supervisord: Supervisord) -> None:
    supervisord.shut_down()
    assert processes(supervisord) == []
