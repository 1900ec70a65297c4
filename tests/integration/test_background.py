"""What an application starts in the master (``preload_app``, ``serve``, hooks) runs there, once, and in no worker."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.client import Client
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until
from tests.support.workers import client_of_each

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = "tests.support.apps.background:application"
KINDS = ["thread", "timer", "executor", "greenlet", "apscheduler", "program", "publisher", "resolver"]


class Notes:
    """The pids of the processes in which it runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pids(self) -> list[int]:
        """Return one for each time that it ran."""
        return [int(line) for line in self._path.read_text().split("\n")[:-1]] if self._path.exists() else []

    def more(self, count: int = 5) -> set[int]:
        """Wait for so many more; return the processes that they come from."""
        before = len(self.pids())
        wait_until(lambda: len(self.pids()) >= before + count, message=lambda: f"no more of {self.pids()}")
        return set(self.pids()[before:])


@contextmanager
def running(tmp_path: Path, kind: str, *flags: str, workers: int = 2, **options: Any) -> Iterator[tuple[Gwsgi, Notes]]:
    env = {"STARTS": kind, "NOTES": str(tmp_path / "notes"), **options.pop("env", {})}
    options.setdefault("app", APP)
    with Gwsgi("-w", str(workers), *flags, env=env, **options) as server:
        yield server, Notes(tmp_path / "notes")


def answer(server: Gwsgi, path: str) -> Any:
    with Client(server.url) as client:
        return client.get(path).json()["answer"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_runs_once_in_the_master(tmp_path: Path, kind: str) -> None:
    if kind == "apscheduler":
        pytest.importorskip("apscheduler", reason="APScheduler is not installed")
    with running(tmp_path, kind, "--preload") as (server, notes):
        assert notes.more() == {server.pid}
        with client_of_each(server.url, workers=2):
            assert notes.more() == {server.pid}
        assert server.stop() == 0


def test_without_preload_it_runs_in_each_worker(tmp_path: Path) -> None:
    with running(tmp_path, "thread") as (server, notes):
        wait_until(lambda: notes.more() == set(server.worker_pids()))


@pytest.mark.parametrize("hook", ["on_starting", "when_ready"])
def test_what_a_hook_starts_runs_in_the_master(tmp_path: Path, hook: str) -> None:
    config = f"def {hook}(server):\n    from tests.support.apps import background\n    background.start_thread()\n"
    with running(tmp_path, "", "--preload", config=config) as (server, notes):
        assert notes.more() == {server.pid}


SCRIPT = """
{patch}
import sys
from geventwsgi import serve
from tests.support.apps import background
{start}
sys.exit(serve(background.application, bind="127.0.0.1:0", workers=2))
"""
PATCH = "from gevent import monkey; monkey.patch_all()"


@pytest.mark.parametrize("patch", ["", PATCH], ids=["", "patched"])
@pytest.mark.parametrize("kind", ["thread", "greenlet"])
def test_what_a_script_starts_before_serve_runs_in_the_script(tmp_path: Path, patch: str, kind: str) -> None:
    script = SCRIPT.format(patch=patch, start=f"background.start_{kind}()")
    command = [sys.executable, "-c", script]
    with running(tmp_path, "", command=command) as (server, notes):
        server.wait_ready(2)
        assert notes.more() == {server.pid}


def test_a_worker_that_is_replaced_has_no_part_in_it(tmp_path: Path) -> None:
    with running(tmp_path, "thread", "--preload", workers=1) as (server, notes):
        (before,) = server.worker_pids()
        server.signal(signal.SIGKILL, before)
        server.wait_ready(2)
        assert "was killed by SIGKILL" in server.log_text()
        assert notes.more() == {server.pid}


def test_the_end_of_a_worker_is_noticed_while_programs_run_in_the_master(tmp_path: Path) -> None:
    with running(tmp_path, "program", "--preload", workers=1) as (server, notes):
        notes.more(1)
        for count in (2, 3, 4):
            server.signal(signal.SIGKILL, server.ready_pids()[-1])
            server.wait_ready(count)


def test_a_pool_of_threads_works_in_each_worker_too(tmp_path: Path) -> None:
    with running(tmp_path, "executor", "--preload") as (server, notes):
        with client_of_each(server.url, workers=2) as clients:
            assert [client.get("/pool").json()["answer"] for client in clients.values()] == [1024, 1024]
        assert notes.more() == {server.pid}


def test_gevents_own_pool_of_threads_works_in_each_worker_too(tmp_path: Path) -> None:
    with running(tmp_path, "gevent's pool", "--preload", workers=1) as (server, notes):
        assert answer(server, "/gevent-pool") == 1024
        assert notes.more() == {server.pid}


def test_a_queue_of_processes_that_the_master_has_used_carries_what_workers_put(tmp_path: Path) -> None:
    with running(tmp_path, "queue", "--preload", workers=1) as (server, notes):
        wait_until(lambda: notes.pids() == [server.pid])
        worker = answer(server, "/put")
        wait_until(lambda: notes.pids() == [server.pid, worker])


def test_a_timeout_that_nobody_has_cancelled_ends_neither_master_nor_workers(tmp_path: Path) -> None:
    with running(tmp_path, "timeout", "--preload", workers=1) as (server, notes):
        server.wait_log("The application raised Timeout in the master, which goes on")
        assert notes.more() == {server.pid}
        assert server.worker_pids() == server.ready_pids()
        assert answer(server, "/pool") == 1024
        assert server.stop() == 0
        assert server.log_text().count("Timeout") == 1


def test_an_exception_of_a_plain_greenlet_does_not_end_the_master(tmp_path: Path) -> None:
    with running(tmp_path, "plain greenlet", "--preload", workers=1) as (server, notes):
        server.wait_log("The application raised ZeroDivisionError in the master, which goes on")
        assert "in divide" in server.log_text()
        assert notes.more() == {server.pid}
        assert server.stop() == 0


def test_the_thread_has_ended_as_a_worker_sees_it(tmp_path: Path) -> None:
    with running(tmp_path, "thread", "--preload", workers=1) as (server, _):
        assert answer(server, "/thread") is False


def test_names_are_resolved_in_a_worker_after_the_master_has_resolved_some(tmp_path: Path) -> None:
    with running(tmp_path, "resolver", "--preload", workers=1) as (server, _):
        assert answer(server, "/resolve") is True


FREEZE = "import gc\ndef pre_fork(server, worker):\n    gc.freeze()\n"


@pytest.mark.parametrize("config", ["", FREEZE], ids=["", "frozen"])
def test_the_collector_sees_in_a_worker_what_the_operator_leaves_to_it(tmp_path: Path, config: str) -> None:
    with running(tmp_path, "thread", "--preload", workers=1, config=config) as (server, _):
        assert (answer(server, "/frozen") > 1000) is bool(config)


def test_what_a_library_starts_after_each_fork_runs_in_each_worker(tmp_path: Path) -> None:
    with running(tmp_path, "in each", "--preload") as (server, notes):
        wait_until(lambda: notes.more() == set(server.worker_pids()))


def test_what_it_publishes_reaches_subscribers_in_the_workers(tmp_path: Path) -> None:
    with running(tmp_path, "publisher", "--preload") as (server, _), client_of_each(server.url, workers=2) as clients:
        for client in clients.values():
            client.get("/hear")
        for client in clients.values():
            wait_until(lambda client=client: set(client.get("/heard").json()["answer"]) == {server.pid})


def test_an_exit_in_a_greenlet_does_not_end_the_master(tmp_path: Path) -> None:
    with running(tmp_path, "exit", "--preload", workers=1) as (server, notes):
        server.wait_log("The application called sys.exit(7) in the master, which goes on")
        assert notes.more() == {server.pid}
        assert answer(server, "/pool") == 1024
        assert server.stop() == 0


@pytest.mark.parametrize("kind", ["computes", "computes and catches everything"])
def test_a_greenlet_that_never_waits_does_not_prevent_the_end(tmp_path: Path, kind: str) -> None:
    with running(tmp_path, kind, "--preload", "-p", str(tmp_path / "pid"), workers=1) as (server, notes):
        (tmp_path / "notes").touch()
        assert wait_until(notes.pids) == [server.pid]
        assert server.stop() == 0
        wait_until(lambda: not server.group_pids(), message="the worker ends too")
        assert not (tmp_path / "pid").exists()


def test_a_reload_keeps_it_running(tmp_path: Path) -> None:
    with running(tmp_path, "thread", "--preload", workers=1) as (server, notes):
        server.signal(signal.SIGHUP)
        server.wait_log("Reload: done")
        assert notes.more() == {server.pid}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may serve as another user")
def test_a_publisher_in_a_master_of_another_user_does_not_shut_the_workers_out(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    (tmp_path / "notes").chmod(0o666)
    flags = ["--preload", "--user", "65534", "--group", "65534"]
    with (
        running(tmp_path, "publisher", *flags, env={"TMPDIR": "/tmp"}) as (server, notes),
        client_of_each(server.url, workers=2),
    ):
        assert notes.more() == {server.pid}
        assert "cannot listen and connect" not in server.log_text()
