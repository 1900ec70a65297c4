"""A failure at each step of reading a request and building its response, and what the next clients get.

Heads, header blocks and environs are remembered from request to request. What was noted when the failure came must not
be taken for what it was about to become: another client's data. The steps are found by the tests themselves. In the
Python core each line of this package is one, in either core each allocation of memory.
"""

from __future__ import annotations

import io
import re
import socket
import sys
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import GreenletExit

import geventwsgi
from geventwsgi import WSGIServer, core
from geventwsgi.serving.http1.http1_connection import Http1Connection
from geventwsgi.serving.loop.runners import Runners
from geventwsgi.serving.wire.sockets import Socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Failing = Callable[[int], Any]

PACKAGE = str(Path(geventwsgi.__file__).parent)
#: The function that the garbage collector calls, in the midst of anything: its exceptions are reported, not raised.
COLLECTORS = "_note"
#: Functions that do nothing themselves but call others, in which nothing can fail.
UNFAILING = {("http1_connection.py", "run"), ("connection.py", "_go_on")}
#: Names of one length, so that whatever is compared by length is not told apart by it.
NAMES = ("alice", "bobby", "carol", "david")
WAYS = ("plain", "input", "all")
KINDS = (MemoryError, gevent.Timeout, GreenletExit)
#: Steps in a row that may change nothing before a request is taken to have no more of them.
QUIET = 60


def app(environ: dict[str, Any], start_response: Any) -> Any:
    """Answer with what the request says of its sender, in its way."""
    name, way = environ["HTTP_X_NAME"], environ["PATH_INFO"][1:]
    if way == "all":
        environ["wsgi.early_hints"]([("Link", f"</{name}>")])
        environ["geventwsgi.send_trailers"]([("X-Trailer", name)])
    if way == "input":
        name = environ["wsgi.input"].read().decode()
    write = start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", f"session={name}")])
    if way != "all":
        return [name.encode()]
    write(name.encode())
    return Closing(name.encode())


class Closing:
    """A body of two pieces, with something to close."""

    def __init__(self, name: bytes) -> None:
        self._pieces = [name, name]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def close(self) -> None:
        self._pieces = []


def request_of(name: str, way: str) -> bytes:
    fields = f"Host: x\r\nTE: trailers\r\nX-Name: {name}\r\nUser-Agent: the same\r\n"
    if way == "input":
        return f"POST /{way} HTTP/1.1\r\n{fields}Content-Length: 5\r\n\r\n{name}".encode()
    return f"GET /{way} HTTP/1.1\r\n{fields}\r\n".encode()


class Given(Runners):
    """Runs nothing; who asks for a runner is in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.sleepers: list[Any] = []

    def give(self, sleeper: Any) -> None:
        self.sleepers.append(sleeper)


class Client:
    """A connection whose requests are served when it says so, in the greenlet of the test."""

    def __init__(self, speaker: Any, runners: Given) -> None:
        self._given = runners.sleepers
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._sock = socket.create_connection(listener.getsockname())
            accepted, address = listener.accept()
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.setblocking(False)
        self.connection = speaker.open(Socket(accepted.detach(), socket.AF_INET), address)
        self.connection.start()

    @property
    def usable(self) -> bool:
        """Whether the server waits for another request."""
        return bool(self.connection.stream.parked) and not self.connection.lingering

    @property
    def forgotten(self) -> bool:
        """Whether the connection is open and nothing will happen to it: its client would wait for ever."""
        stream = self.connection.stream
        given = [one for one in self._given if one is self.connection or not isinstance(one, Http1Connection)]
        return not (stream.closed or stream.parked or given)

    def ask(self, data: bytes, failing: Any = None) -> bytes:
        """Return what comes of a request, dates left out."""
        self._sock.sendall(data)
        self.connection.stream.unpark()
        with suppress(BaseException), failing or nullcontext():
            while self.connection in self._given:
                self._given.remove(self.connection)
                self.connection.run()
        received = b""
        with suppress(BlockingIOError, ConnectionError):
            while piece := self._sock.recv(65536):
                received += piece
        return re.sub(rb"Date: [^\r]*", b"Date: -", received)

    def close(self) -> None:
        self._sock.close()
        self.connection.close()


class Service:
    """The parts of a server to which nobody connects by itself, and its clients."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        self._server = WSGIServer(("127.0.0.1", 0), app, log=self.log, error_log=io.StringIO())
        self._server.start()
        self.parts: Any = self._server._WSGIServer__service
        self.parts.runners = self._runners = Given()
        self._clients: list[Client] = []

    def client(self) -> Client:
        """Return a new one."""
        self._clients.append(Client(self._server._WSGIServer__acceptor.speaker, self._runners))
        return self._clients[-1]

    def forget(self) -> None:
        """Close the clients."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        self._runners.sleepers.clear()

    def close(self) -> None:
        self.forget()
        self._server.stop(0)


@contextmanager
def serving() -> Iterator[Service]:
    service = Service()
    try:
        yield service
    finally:
        service.close()
        gevent.sleep(0)  # for what the loop was to do for them


def expected_of(way: str) -> dict[str, bytes]:
    """Return what each client gets of a server that has served nobody else."""
    answers = {}
    for name in NAMES:
        with serving() as service:
            answers[name] = service.client().ask(request_of(name, way))
        assert answers[name].startswith((b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 "))
    return answers


def fail_at(step: int, way: str, expected: dict[str, bytes], service: Service, failing: Any, *, warm: bool) -> bytes:
    """Have one request of bobby's fail at a step, and check what he and the next clients get; return his answer."""
    first, other = service.client(), service.client()
    for _ in range(2 if warm else 0):
        assert first.ask(request_of("alice", way)) == expected["alice"]
    answer = first.ask(request_of("bobby", way), failing)
    assert not first.forgotten, f"neither served nor closed, step {step}"
    for name in ("alice", "carol", "david"):
        assert name.encode() not in answer, f"{name}'s data in bobby's answer, step {step}"
    for name in ("bobby", "carol", "alice"):
        if first.usable:
            assert first.ask(request_of(name, way)) == expected[name], f"on the same connection, step {step}"
    for name in ("bobby", "david", "bobby"):
        assert other.ask(request_of(name, way)) == expected[name], f"on another connection, step {step}"
    service.forget()
    return answer


class FailingLine:
    """While it runs, the line of this package with a number raises an exception.

    :param number: counted from 1, in the order in which they run.
    """

    def __init__(self, number: int, error: BaseException) -> None:
        self.raised = False
        self._left = number
        self._error = error

    def __enter__(self) -> None:
        self._former = sys.gettrace()
        sys.settrace(self._call)

    def __exit__(self, *_error: object) -> None:
        sys.settrace(self._former)

    def _call(self, frame: Any, _event: str, _argument: object) -> Any:
        code = frame.f_code
        if (
            code.co_name == COLLECTORS
            or (Path(code.co_filename).name, code.co_name) in UNFAILING
            or not code.co_filename.startswith(PACKAGE)
        ):
            return None
        return self._line

    def _line(self, _frame: Any, event: str, _argument: object) -> Any:
        if event == "line":
            self._left -= 1
            if not self._left:
                self.raised = True
                raise self._error
        return self._line


@pytest.mark.skipif(core.name() != "Python", reason="the compiled core has no lines")
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "new"])
@pytest.mark.parametrize("way", WAYS)
def test_a_line_that_fails_leaves_nothing_for_the_next_client(way: str, warm: bool) -> None:
    expected = expected_of(way)
    step, failing = 0, None
    with serving() as service:
        while failing is None or failing.raised:
            step += 1
            failing = FailingLine(step, KINDS[step % len(KINDS)]())
            fail_at(step, way, expected, service, failing, warm=warm)
    assert step > 100


class FailingAllocation:
    """While it runs, allocations of memory fail; by one of Python's own tools for tests.

    :param number: the first that fails.
    :param count: how many fail in a row: of two, the second is in what acts on the first.
    """

    def __init__(self, number: int, count: int = 1) -> None:
        self._tool = pytest.importorskip("_testcapi")
        self._first, self._end = number, number + count

    def __enter__(self) -> None:
        self._tool.set_nomemory(self._first, self._end)

    def __exit__(self, *_error: object) -> None:
        self._tool.remove_mem_hooks()


# A generator that there is no memory to end is reported there, not raised.
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="without memory, interpreters of other versions crash")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "new"])
@pytest.mark.parametrize("way", WAYS)
def test_an_allocation_that_fails_leaves_nothing_for_the_next_client(way: str, warm: bool, count: int) -> None:
    expected = expected_of(way)
    step = quiet = 0
    with serving() as service:
        while quiet < QUIET:
            step += 1
            answer = fail_at(step, way, expected, service, FailingAllocation(step, count), warm=warm)
            quiet = quiet + 1 if answer == expected["bobby"] else 0
    assert step > QUIET + 10
