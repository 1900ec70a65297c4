"""Ten thousand long-polls on one worker: what they cost, how soon one publish has answered them all."""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import statistics
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.client import Client
from tests.support.memory import MIB, rss
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.alone

POLLS = 10_000
#: Descriptors that test and server need each.
DESCRIPTORS = POLLS + 200
MEMORY = 150 * MIB
#: Seconds from a publish to the last answer.
LIMIT = 1.5
ATTEMPTS = 3
REQUEST = b"GET /wait HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        pytest.skip(f"needs {DESCRIPTORS} descriptors, the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Plain(threading.Thread):
    """A client that asks for something else meanwhile, again and again."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._over = threading.Event()
        self.took: list[float] = []

    def run(self) -> None:
        with Client(self._url) as client:
            while not self._over.is_set():
                began = time.monotonic()
                assert client.get("/").status == 200
                self.took.append(time.monotonic() - began)
                self._over.wait(0.005)

    def end(self) -> None:
        self._over.set()
        self.join()


def wait_for_answers(polls: list[socket.socket]) -> None:
    """Return when every poll has its answer."""
    left = len(polls)
    with selectors.DefaultSelector() as selector:
        for poll in polls:
            selector.register(poll, selectors.EVENT_READ)
        deadline = time.monotonic() + 60
        while left:
            assert time.monotonic() < deadline, f"{left} polls wait"
            for key, _ in selector.select(1):
                answer = key.fileobj.recv(65536)
                assert answer.endswith(b"news"), answer
                selector.unregister(key.fileobj)
                left -= 1


def publish_once() -> tuple[float, float, list[float]]:
    """Return the memory that the polls took, how long their answers did, and what plain requests took meanwhile."""
    app = "tests.support.fullapps.polling_apps:application"
    with Gwsgi("--worker-connections", "20000", app=app) as server, contextlib.ExitStack() as stack:
        (worker,) = server.worker_pids()
        client = stack.enter_context(Client(server.url))
        assert client.get("/").text == "0"
        idle = rss(worker)
        polls = []
        for _ in range(POLLS):
            poll = stack.enter_context(socket.create_connection(server.address))
            poll.sendall(REQUEST)
            polls.append(poll)
        wait_until(lambda: client.get("/").text == str(POLLS), 60)
        memory = rss(worker) - idle
        plain = Plain(server.url)
        plain.start()
        wait_until(lambda: len(plain.took) > 5)
        before = len(plain.took)
        began = time.monotonic()
        assert client.get("/publish").status == 200
        wait_for_answers(polls)
        duration = time.monotonic() - began
        plain.end()
        return memory, duration, plain.took[before:] or plain.took[-1:]


def test_10_000_wait_in_150_mib_and_one_publish_answers_all_in_time() -> None:
    durations = []
    for _ in range(ATTEMPTS):  # a busy test machine lengthens some
        memory, duration, plain = publish_once()
        assert memory <= MEMORY, f"{memory / MIB:.0f} MiB"
        durations.append(duration)
        if duration < LIMIT:
            break
    worst = max(plain)
    p99 = statistics.quantiles(plain, n=100)[98] if len(plain) > 1 else worst
    print(f"{memory / MIB:.0f} MiB; all answered after {duration:.2f} s; plain requests meanwhile: p99 {p99:.3f} s")
    assert min(durations) < LIMIT
