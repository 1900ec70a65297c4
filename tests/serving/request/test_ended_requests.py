"""What an application keeps of a request that has ended: it acts on no other request, and tells of none.

The connection's next request may be anybody's: a proxy sends its clients' requests over few connections.
"""

from __future__ import annotations

import gc
import re
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import gevent
import pytest
from gevent.event import Event

from geventwsgi.errors import ClientDisconnected, ResponseError
from geventwsgi.wsgi.held import Held
from tests.support.eventually import eventually
from tests.support.servers import Running, connect, read_to, running, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Kept = dict[str, Any]
    Act = Callable[[Kept], object]

ONE = b"POST /one HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nContent-Length: 4\r\n\r\nbody"
UPGRADE = b"GET /one HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n"
HANDSHAKE = (
    b"GET /one HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TWO = b"GET /two HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n"
#: A response in chunks of which nothing is another request's.
WHOLE = (
    b"HTTP/1.1 200 OK\r\nServer: geventwsgi\r\nDate: -\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\ntwo\r\n3\r\nend\r\n0\r\n\r\n"
)
#: Seconds after which a deadline that had passed would have been noticed.
DEADLINE = 0.3


WAYS = ("keep-alive", "warm", "pipelined", "tls", "tls, pipelined", "unix", "http/1.0")
#: What the second request is answered with over HTTP/1.0.
WHOLE_1_0 = b"HTTP/1.1 200 OK\r\nServer: geventwsgi\r\nDate: -\r\nConnection: close\r\n\r\ntwoend"


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """How the second request comes."""
    return str(request.param)


class Two:
    """An application of two requests. The second lets ``act`` have what the first has left, and so does a greenlet of
    the first: that acts after the second's head.

    :param keep: what is kept of the first request, of its environ and ``start_response``.
    """

    def __init__(self, act: Act, keep: Callable[[dict[str, Any], Any], Kept] | None = None) -> None:
        self.kept: Kept = {}
        #: What the attempts returned, or the types of what they raised.
        self.met: list[Any] = []
        #: What ended the second request before its end.
        self.thrown: list[BaseException] = []
        self._act = act
        self._keep = keep or (lambda environ, start_response: {**environ, "start_response": start_response})
        self._go, self._gone = Event(), Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/one":
            kept = self._keep(environ, start_response)
            write = start_response("200 OK", [("Content-Length", "3")])
            if environ["QUERY_STRING"] != "last":
                self.kept = {**kept, "write": write, "result": [b"one"]}
                gevent.spawn(self._later)
                return self.kept["result"]
            return [b"one"]
        return self._second(start_response)

    def _later(self) -> None:
        self._go.wait(10)
        self.attempt()
        self._gone.set()

    def _second(self, start_response: Any) -> Iterator[bytes]:
        try:
            self.attempt()
            start_response("200 OK", [])
            yield b"two"
            self._go.set()
            self._gone.wait(10)
            yield b"end"
        except BaseException as error:
            self.thrown.append(error)
            raise

    def attempt(self) -> None:
        """Act with what is kept."""
        try:
            self.met.append(self._act(self.kept))
        except Exception as error:
            self.met.append(type(error))


def ask(server: Running, way: str, first: bytes = ONE) -> tuple[bytes, bytes]:
    """Return the responses to the first and the second request, without their dates."""
    client = connect(server, way)
    second, end = TWO, b"0\r\n\r\n"
    if way == "http/1.0":
        first, second = (
            request.replace(b"/1.1\r\n", b"/1.0\r\nConnection: keep-alive\r\n") for request in (first, TWO)
        )
        end = b"twoend"
    if way == "warm":  # requests before have left what is shared by those that repeat their block
        for _ in range(3):
            client.sendall(first.replace(b"/one", b"/one?last"))
            read_to(client, b"one")
    client.sendall(first + second if "pipelined" in way else first)
    one = read_to(client, b"one")
    if "pipelined" not in way:
        client.sendall(second)
    two = read_to(client, end)
    return dateless(one), dateless(two)


def dateless(response: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]*", b"Date: -", response)


def untouched(app: Two, way: str, directory: Path, first: bytes = ONE, **settings: Any) -> None:
    """Check that the second request is as it would be alone. Then act once more when the connection has ended."""
    with serving(app, way, directory, **settings) as server:
        one, two = ask(server, way, first)
    assert one.startswith(b"HTTP/1.1 200 OK\r\n")
    assert two == (WHOLE_1_0 if way == "http/1.0" else WHOLE)
    assert app.thrown == []
    app.attempt()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


class Object(NamedTuple):
    """Something that an application keeps of a request.

    :ivar key: where it is in the environ, or the name of what :class:`Two` adds.
    :ivar act: what is done with it, each time.
    :ivar met: what that returns, or the type of what it raises.
    :ivar first: the first request.
    """

    key: str
    act: Callable[[Any], object]
    met: Any = None
    first: bytes = ONE


def late(deadline: Any) -> None:
    """Set a deadline that has passed, and wait until it would have been noticed: once is enough."""
    deadline.set(0)
    if "late" not in seen:
        seen.add("late")
        gevent.sleep(DEADLINE)


class Late(Held):
    """A response that a request offers after its end."""

    first, heartbeat, over = b"two", 15, True


seen: set[str] = set()
FAILURE = (ValueError, ValueError("one"), None)
OBJECTS = {
    "client: gone": Object("geventwsgi.client", lambda client: client.gone.is_set(), met=False),
    "client: on_gone": Object("geventwsgi.client", lambda client: client.on_gone(print)),
    "client: cancel_on_gone": Object("geventwsgi.client", lambda client: client.cancel_on_gone()),
    "client: not cancel_on_gone": Object("geventwsgi.client", lambda client: client.cancel_on_gone(cancel=False)),
    "client: disconnected": Object("geventwsgi.client", lambda client: client.disconnected(), met=False),
    "waitress": Object("waitress.client_disconnected", lambda disconnected: disconnected(), met=False),
    "deadline: set": Object("geventwsgi.deadline", late),
    "deadline: lift": Object("geventwsgi.deadline", lambda deadline: deadline.lift()),
    "deadline: remaining": Object("geventwsgi.deadline", lambda deadline: deadline.remaining),
    "hints": Object("wsgi.early_hints", lambda hints: hints([("Link", "</private>")])),
    "trailers": Object("geventwsgi.send_trailers", lambda send: send([("X-Private", "one")])),
    "hold": Object("geventwsgi.hold", lambda hold: hold(Late()), met=False),
    "input: read": Object("wsgi.input", lambda body: body.read() in (b"body", b""), met=True),
    "input: readline": Object("wsgi.input", lambda body: body.readline() in (b"body", b""), met=True),
    "input: iterated": Object("wsgi.input", lambda body: list(body) in ([b"body"], []), met=True),
    "server": Object(
        "geventwsgi.server", lambda server: [name for name in dir(server) if name[0] != "_"], ["draining"]
    ),
    "errors": Object("wsgi.errors", lambda errors: errors.write("one: no end of line"), met=19),
    "start_response": Object("start_response", lambda start: start("201 Created", [("X", "one")]), met=ResponseError),
    "start_response: exc_info": Object("start_response", lambda start: start("500 No", [], FAILURE), met=ValueError),
    "write": Object("write", lambda write: write(b"LATE"), met=ResponseError),
    "file_wrapper": Object("wsgi.file_wrapper", lambda wrap: list(wrap(BytesIO(b"one's"))), met=[b"one's"]),
    "result": Object("result", lambda result: result.append(b"LATE")),
    "socket: recv": Object("geventwsgi.socket", lambda sock: sock.recv(10), met=b"", first=UPGRADE),
    "socket: recv_into": Object("geventwsgi.socket", lambda sock: sock.recv_into(bytearray(10)), 0, UPGRADE),
    "socket: fileno": Object("geventwsgi.socket", lambda sock: sock.fileno(), -1, UPGRADE),
    "socket: close": Object("geventwsgi.socket", lambda sock: sock.close(), None, UPGRADE),
    "socket: send": Object("geventwsgi.socket", lambda sock: sock.send(b"RAW"), ClientDisconnected, UPGRADE),
    "socket: sendall": Object("geventwsgi.socket", lambda sock: sock.sendall(b"RAW"), ClientDisconnected, UPGRADE),
    "socket: getpeername": Object("geventwsgi.socket", lambda sock: sock.getpeername(), OSError, UPGRADE),
    "socket: getsockname": Object("geventwsgi.socket", lambda sock: sock.getsockname(), OSError, UPGRADE),
    "socket: setsockopt": Object("geventwsgi.socket", lambda sock: sock.setsockopt(1, 9, 1), OSError, UPGRADE),
    "socket: getsockopt": Object("geventwsgi.socket", lambda sock: sock.getsockopt(1, 9), OSError, UPGRADE),
    "socket: settimeout": Object("geventwsgi.socket", lambda sock: sock.settimeout(0), None, UPGRADE),
    "socket: shutdown": Object("geventwsgi.socket", lambda sock: sock.shutdown(2), OSError, UPGRADE),
}
#: Objects that an HTTP/1.0 request does not have.
NOT_IN_1_0 = ("geventwsgi.send_trailers", "geventwsgi.socket")
CASES = [(name, way) for name in OBJECTS for way in WAYS if way != "http/1.0" or OBJECTS[name].key not in NOT_IN_1_0]


@pytest.mark.parametrize("alone", [False, True], ids=["with its environ", "alone"])
@pytest.mark.parametrize(("name", "way"), CASES)
def test_an_object_of_an_ended_request_is_inert(name: str, way: str, alone: bool, directory: Path) -> None:
    """It is used by the second request, by a greenlet of the first, and after the connection's end."""
    key, act, met, first = OBJECTS[name]
    seen.clear()

    def keep(environ: dict[str, Any], start_response: Any) -> Kept:
        everything = {**environ, "start_response": start_response}
        return {key: everything.get(key)} if alone else everything

    app = Two(lambda kept: act(kept[key]), keep)
    untouched(app, way, directory, first)
    assert app.met == [met] * 3


def test_a_deadline_says_nothing_of_the_next_requests(way: str, directory: Path) -> None:
    app = Two(lambda kept: kept["geventwsgi.deadline"].remaining)
    untouched(app, way, directory, request_timeout=60)
    assert app.met == [None] * 3


@pytest.mark.parametrize("way", [way for way in WAYS if way != "http/1.0"])
def test_a_websocket_of_a_request_that_was_answered_otherwise_is_inert(way: str, directory: Path) -> None:
    websocket = pytest.importorskip("geventwsgi.wsgi.websocket", reason="wsproto is not installed")

    def act(kept: Kept) -> tuple[Any, ...]:
        found = kept["wsgi.websocket"]
        for call in (lambda: found.send("RAW"), found.receive):
            with pytest.raises(websocket.WebSocketError):
                call()
        return found.closed, found.close(), found.path

    app = Two(act)
    untouched(app, way, directory, HANDSHAKE, wsgi_websocket=True)
    assert app.met == [(True, None, "/one")] * 3


class Hooks:
    """A server's hooks, which keep what they get of the first request."""

    def __init__(self) -> None:
        self.kept: Kept = {}

    def pre_request(self, worker: Any, req: Any) -> None:
        self.kept.setdefault("req", req)

    def post_request(self, worker: Any, req: Any, environ: Any, resp: Any) -> None:
        self.kept.setdefault("resp", resp)


def test_what_hooks_keep_is_inert(way: str, directory: Path) -> None:
    hooks = Hooks()

    def act(_kept: Kept) -> tuple[Any, ...]:
        req, resp = hooks.kept["req"], hooks.kept["resp"]
        req.force_close()
        req.headers.append(("X-PRIVATE", "one"))
        req.method = req.path = "/private"
        return req.body.read() in (b"body", b""), resp.status, resp.sent, resp.headers

    app = Two(act)
    untouched(app, way, directory, pre_request=hooks.pre_request, post_request=hooks.post_request)
    assert app.met == [(True, "200 OK", 3, [("Content-Length", "3")])] * 3


def test_an_environ_in_a_cycle_is_kept_until_the_collector_comes(way: str, directory: Path) -> None:
    def cycle(environ: dict[str, Any], start_response: Any) -> Kept:
        environ["a framework's request"] = environ
        return {"wsgi.early_hints": environ["wsgi.early_hints"]}

    gc.disable()
    try:
        untouched(Two(lambda kept: kept["wsgi.early_hints"]([("Link", "</private>")]), cycle), way, directory)
    finally:
        gc.enable()


# The client


class Leaving:
    """The first request's client is asked while the second's leaves."""

    def __init__(self) -> None:
        self.client: Any = None
        self.called: list[str] = []
        self.begun, self.left = Event(), Event()
        self.finished = False

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/one":
            self.client = environ["geventwsgi.client"]
            self.prepare()
            start_response("200 OK", [("Content-Length", "3")])
            return [b"one"]
        environ["geventwsgi.client"].on_gone(self.left.set)
        self.begun.set()
        self.second()
        self.left.wait(10)
        gevent.sleep(0.01)
        self.finished = True
        start_response("200 OK", [])
        return [b"two"]

    def prepare(self) -> None:
        """Do something in the first request."""

    def second(self) -> None:
        """Do something in the second."""


def leave_in_two(app: Leaving, way: str, directory: Path) -> None:
    with serving(app, way, directory) as server:
        client = connect(server, way)
        client.sendall(ONE + TWO if "pipelined" in way else ONE)
        read_to(client, b"one")
        if "pipelined" not in way:
            client.sendall(TWO)
        app.begun.wait(10)
        client.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER: a reset
        client.close()
        eventually(lambda: app.finished)


def test_gone_stays_as_it_was(way: str, directory: Path) -> None:
    app = Leaving()
    kept: list[Any] = []
    app.prepare = lambda: kept.append(app.client.gone)
    leave_in_two(app, way, directory)
    assert app.left.is_set()
    assert app.client.gone is kept[0]
    assert not kept[0].is_set()


def test_gone_that_is_asked_for_late_is_not_set(way: str, directory: Path) -> None:
    app = Leaving()
    leave_in_two(app, way, directory)
    assert app.left.is_set()
    assert not app.client.gone.is_set()
    assert app.client.gone is app.client.gone


def test_disconnected_stays_as_it_was(way: str, directory: Path) -> None:
    app = Leaving()
    leave_in_two(app, way, directory)
    assert app.left.is_set()
    assert app.client.disconnected() is app.client() is False
    app.client.cancel_on_gone()  # raises where the client has left


@pytest.mark.parametrize("when", ["prepare", "second"])
def test_callbacks_are_not_called_for_anothers_departure(way: str, directory: Path, when: str) -> None:
    app = Leaving()
    setattr(app, when, lambda: app.client.on_gone(lambda: app.called.append("one's")))
    leave_in_two(app, way, directory)
    assert app.left.is_set()
    app.client.on_gone(lambda: app.called.append("late"))
    gevent.sleep(0.01)
    assert app.called == []


def test_a_client_that_had_left_is_told_of_for_ever(directory: Path) -> None:
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kept.append(environ["geventwsgi.client"])
        kept[0].gone.wait(10)
        start_response("200 OK", [])
        return [b"two"]

    with serving(app, "keep-alive", directory) as server:
        client = connect(server, "keep-alive")
        client.sendall(TWO)
        eventually(lambda: kept)
        client.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
        client.close()
        eventually(lambda: server.server.connections == 0)
    assert kept[0].gone.is_set()
    assert kept[0].disconnected()
    with pytest.raises(ClientDisconnected):
        kept[0].cancel_on_gone()


# The socket


@pytest.mark.parametrize("way", ["keep-alive", "warm", "pipelined", "unix"])
def test_whoever_knows_the_descriptor_has_the_connection_for_this_request_alone(way: str, directory: Path) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if "geventwsgi.socket" in environ:
            environ["geventwsgi.socket"].fileno()
        start_response("200 OK", [("Content-Length", "3")])
        return [b"one"]

    with serving(app, way, directory) as server:
        client = connect(server, way)
        client.sendall(UPGRADE)
        assert read_to(client, b"one").startswith(b"HTTP/1.1 200 OK\r\n")
        assert client.recv(100) == b""


def test_a_taken_connections_socket_is_inert_once_the_application_has_returned(directory: Path) -> None:
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kept.append(environ["geventwsgi.socket"])
        kept[0].sendall(b"hello")
        return []

    with serving(app, "keep-alive", directory) as server:
        client = connect(server, "keep-alive")
        client.sendall(UPGRADE)
        read_to(client, b"hello")
        eventually(lambda: server.statuses)
        with pytest.raises(ClientDisconnected, match="request has ended"):
            kept[0].sendall(b"LATE")
        assert client.recv(100) == b""


# At the very moment


class Spawning:
    """An application whose first request leaves a greenlet behind in the midst of a call.

    :param start: begins it, given the environ and ``write``; what becomes of the call is for :attr:`ended`.
    """

    def __init__(self, start: Callable[[dict[str, Any], Any, list[Any]], object], size: int = 3) -> None:
        self.ended: list[Any] = []
        self._start, self._size = start, size

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/one":
            write = start_response("200 OK", [("Content-Length", str(self._size))])
            self._start(environ, write, self.ended)
            gevent.sleep(0.01)
            return [b"one"]
        start_response("200 OK", [("Content-Length", "3")])
        return [b"two"]


def into(ended: list[Any], call: Callable[[], object]) -> None:
    """Have ``ended`` get what becomes of a call in a greenlet of its own."""

    def run() -> None:
        try:
            ended.append(call())
        except BaseException as error:
            ended.append(error)

    gevent.spawn(run)


@pytest.mark.parametrize("way", ["keep-alive", "tls", "unix"])
def test_a_greenlet_that_reads_the_body_at_its_requests_end_is_told(way: str, directory: Path) -> None:
    app = Spawning(lambda environ, _write, ended: into(ended, lambda: environ["wsgi.input"].read(10)))
    with serving(app, way, directory, linger_timeout=0.2) as server:
        client = connect(server, way)
        client.sendall(ONE.replace(b"Content-Length: 4", b"Content-Length: 10"))
        assert read_to(client, b"one").startswith(b"HTTP/1.1 200 OK\r\n")
        eventually(lambda: app.ended)
        with suppress(OSError):
            client.sendall(b"rest..")
            client.sendall(TWO)
        eventually(lambda: server.server.connections == 0)
    assert [type(error) for error in app.ended] == [ClientDisconnected]


@pytest.mark.parametrize("way", ["keep-alive", "tls", "unix"])
def test_a_greenlet_that_writes_at_its_requests_end_is_told_and_the_response_is_cut(way: str, directory: Path) -> None:
    size = 32 << 20

    def start(_environ: dict[str, Any], write: Any, ended: list[Any]) -> None:
        into(ended, lambda: write(b"x" * size))

    app = Spawning(start, size)
    with serving(app, way, directory) as server:
        client = connect(server, way)
        client.sendall(ONE + TWO)
        eventually(lambda: app.ended)
        received = 0
        with suppress(OSError):
            while piece := client.recv(65536):
                assert b"two" not in piece
                received += len(piece)
        assert received < size
        eventually(lambda: server.server.connections == 0)
    assert [type(error) for error in app.ended] == [ClientDisconnected]


@pytest.mark.parametrize("way", ["keep-alive", "tls", "unix"])
def test_a_greenlet_that_sends_hints_at_its_requests_end_is_told(way: str, directory: Path) -> None:
    link = [("Link", "<" + "x" * 60_000 + ">")]

    def start(environ: dict[str, Any], _write: Any, ended: list[Any]) -> None:
        into(ended, lambda: [environ["wsgi.early_hints"](link) for _ in range(500)])

    app = Spawning(start)
    with serving(app, way, directory) as server:
        client = connect(server, way)
        client.sendall(ONE + TWO)
        eventually(lambda: app.ended)
        received = b""
        with suppress(OSError):
            while piece := client.recv(1 << 20):
                received += piece
        assert b"\r\n\r\ntwo" not in received
        eventually(lambda: server.server.connections == 0)
    assert [type(error) for error in app.ended] == [ClientDisconnected]


@pytest.mark.parametrize("way", ["keep-alive", "tls", "unix"])
def test_a_greenlet_that_waits_for_the_departure_of_its_client_waits_on(way: str, directory: Path) -> None:
    app = Spawning(lambda environ, _write, ended: into(ended, lambda: environ["geventwsgi.client"].gone.wait(0.05)))
    with serving(app, way, directory) as server:
        client = connect(server, way)
        client.sendall(ONE + TWO)
        read_to(client, b"two")
        client.close()
        eventually(lambda: app.ended)
    assert app.ended == [False]


# What this costs


def test_a_connections_requests_share_their_objects_where_nobody_keeps_any() -> None:
    seen: list[int] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(id(environ["geventwsgi.client"]))
        start_response("200 OK", [("Content-Length", "3")])
        return [b"one"]

    with running(app) as server:
        client = server.connect()
        for _ in range(6):
            client.sendall(TWO)
            read_to(client, b"one")
    assert len(set(seen[1:])) == 1


def test_the_next_request_has_objects_that_work_although_the_last_ones_are_kept() -> None:
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kept.append(environ)
        assert environ["geventwsgi.client"] is environ["waitress.client_disconnected"]
        environ["geventwsgi.deadline"].set(50)
        assert 40 < environ["geventwsgi.deadline"].remaining < 60
        environ["wsgi.early_hints"]([("X-Number", str(len(kept)))])
        start_response("200 OK", [("Content-Length", "3")])
        return [b"one"]

    with running(app) as server:
        client = server.connect()
        for number in range(1, 6):
            client.sendall(TWO)
            assert b"X-Number: %d\r\n" % number in read_to(client, b"one")
    for key in ("geventwsgi.client", "geventwsgi.deadline", "wsgi.early_hints", "geventwsgi.send_trailers"):
        assert len({id(environ[key]) for environ in kept}) == 5
