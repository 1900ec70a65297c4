"""Access lines of one turn of the loop are written together; none is lost, whatever ends a worker or turns the log."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import re
import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support import inflight
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = "tests.support.apps.processes:application"
LINE = re.compile(r'127\.0\.0\.1 - - \[[^]]+\] "GET /pid\?(\d+-\d+) HTTP/1\.1" 200 \d+ "-" "[^"]*"')


class Burst:
    """Clients that ask as fast as they are answered, each request by a number of its own, until the server is gone."""

    def __init__(self, url: str, clients: int = 8) -> None:
        self._url = url
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]
        #: Numbers of the requests that were answered.
        self.answered: set[str] = set()

    def __enter__(self) -> Burst:
        for thread in self._threads:
            thread.start()
        self.wait_more(100)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def wait_more(self, count: int) -> None:
        """Wait until so many more requests have been answered."""
        enough = len(self.answered) + count
        wait_until(lambda: len(self.answered) >= enough, 30)

    def _run(self, client: int) -> None:
        numbers = map(f"{client}-{{}}".format, itertools.count())
        with contextlib.suppress(ConnectionRefusedError):
            while not self._stopped.is_set():
                # What is cut, or closed between two requests, begins anew.
                with contextlib.suppress(ConnectionResetError, BrokenPipeError, http.client.HTTPException):
                    self._ask(numbers)

    def _ask(self, numbers: Iterator[str]) -> None:
        with inflight.Client(self._url) as connection:
            while not self._stopped.is_set():
                number = next(numbers)
                assert connection.get(f"/pid?{number}").status == 200
                self.answered.add(number)


def logged(*paths):
    """Return the numbers in the log; every line is whole, and none is there twice."""
    matches = [LINE.fullmatch(line) for path in paths for line in path.read_text().splitlines()]
    assert all(matches)
    numbers = [match[1] for match in matches]
    assert len(numbers) == len(set(numbers))
    return set(numbers)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT"])
def test_every_answer_has_its_line_when_the_server_ends(name, tmp_path):
    access = tmp_path / "access.log"
    with Gwsgi("-w", "2", "--access-logfile", str(access), app=APP) as server:
        with Burst(server.url) as burst:
            assert server.stop(getattr(signal, name)) == 0
        assert burst.answered <= logged(access)


def test_every_answer_has_its_line_when_workers_are_renewed(tmp_path):
    access = tmp_path / "access.log"
    with Gwsgi("-w", "2", "--max-requests", "100", "--access-logfile", str(access), app=APP) as server:
        with Burst(server.url):
            wait_until(lambda: len(server.ready_pids()) >= 6, 30)
        with Burst(server.url) as burst:
            server.signal(signal.SIGHUP)
            server.wait_log("Reload: done")
            burst.wait_more(50)
            numbers = burst.answered
            server.stop()
        matches = [LINE.fullmatch(line) for line in access.read_text().splitlines()]
        assert all(matches) and numbers <= {match[1] for match in matches}


def test_every_answer_has_its_line_when_the_log_is_turned(tmp_path):
    access = tmp_path / "access.log"
    turned = [tmp_path / f"access.{number}" for number in range(5)]
    with Gwsgi("-w", "2", "--access-logfile", str(access), app=APP) as server:
        with Burst(server.url) as burst:
            for path in turned:
                access.rename(path)
                server.signal(signal.SIGUSR1)
                wait_until(access.exists)
                burst.wait_more(50)
            server.stop()
        assert burst.answered <= logged(*turned, access)


def test_a_request_cut_at_graceful_timeout_has_its_line(tmp_path):
    access = tmp_path / "access.log"
    arguments = ["--graceful-timeout", "0.3", "--access-logfile", str(access), "--access-logformat", "%(r)s"]
    with Gwsgi(*arguments, app=APP) as server, inflight.requests() as get:
        reply = get(server.url, "/sleep?60")
        server.wait_log("begun /sleep")
        assert server.stop() == 0
        assert isinstance(reply.exception(), inflight.CUT)
        assert access.read_text() == "GET /sleep?60 HTTP/1.1\n"


def test_a_worker_that_is_aborted_writes_what_it_had_gathered(tmp_path):
    access = tmp_path / "access.log"
    arguments = ["--timeout", "1", "--access-logfile", str(access), "--access-logformat", "%(r)s"]
    with Gwsgi(*arguments, app=APP) as server, socket.create_connection(server.address, 10) as client:
        # Both are served in one turn, of which the second makes no end.
        client.sendall(b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\nGET /block?60 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        server.wait_log("after it was silent for 1 s")
        wait_until(lambda: access.read_text() == "GET /pid HTTP/1.1\n")


def test_a_program_that_a_request_starts_finds_the_lines_before_it(tmp_path):
    """A fork in the midst of a turn: the child has a copy of what waits, and must not write it."""
    access = tmp_path / "access.log"
    arguments = ["--access-logfile", str(access), "--access-logformat", "%(r)s"]
    with Gwsgi(*arguments, app="tests.support.apps.forks:application") as server:
        with socket.create_connection(server.address, 10) as client:
            client.sendall(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /fork HTTP/1.1\r\nHost: x\r\n\r\n")
            received = b""
            while b"the child ended" not in received:
                more = client.recv(1000)
                assert more
                received += more
        assert server.stop() == 0
        assert access.read_text() == "GET /first HTTP/1.1\nGET /fork HTTP/1.1\n"
