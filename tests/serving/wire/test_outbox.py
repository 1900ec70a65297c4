"""Responses of one turn of the loop leave together, unless that takes long; none is lost and none comes twice."""

from __future__ import annotations

import os
import re
import select
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import get_hub, socket
from gevent.event import Event

from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.loop.runners import Runners, Sleeper
from geventwsgi.serving.wire.outbox import outbox_of
from tests.support.eventually import eventually
from tests.support.servers import running
from tests.support.streams import Woken, stream_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from geventwsgi.serving.wire.stream import Stream
    from tests.support.servers import Running

#: Bytes that are not kept, and seconds that are long; see KEPT and LONG.
LARGE, LONG = 4096, 0.01


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


class Turns:
    """An application that is asked several things in one turn of the loop, and looks at what has left by then."""

    def __init__(self) -> None:
        self.clients: dict[str, socket.socket] = {}
        #: Who had an answer when the last of a turn was asked.
        self.answered: list[str] = []
        self.body = b"hello"
        self.work: Callable[[], object] = int

    def application(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/last":
            self.work()
            self.answered = [name for name, client in self.clients.items() if has_something(client)]
        return [self.body]

    def keeps(self, server: Running) -> bool:
        """Return whether the first of two responses had not left when the second was made."""
        self.take(server, "a", "b")
        return not self.answered

    def take(self, server: Running, *names: str) -> list[bytes]:
        """Have each of ``names`` ask once within one turn, the last for /last; return what each got."""
        for name in names:
            if name not in self.clients:
                self.clients[name] = server.connect(get("/"))
                self.clients[name].recv(65536)
        for name in names:
            self.clients[name].sendall(get("/last" if name is names[-1] else "/"))
        return [self.clients[name].recv(65536) for name in names]


def has_something(client: socket.socket) -> bool:
    return bool(select.select([client], [], [], 0)[0])


@contextmanager
def turns() -> Iterator[tuple[Turns, Running]]:
    app = Turns()
    with running(app.application) as server:
        yield app, server


def test_responses_of_one_turn_leave_at_its_end() -> None:
    with turns() as (app, server):
        eventually(lambda: app.keeps(server))  # unless the machine was slow of late
        replies = app.take(server, "a", "b", "c")
        assert all(reply.endswith(b"\r\n\r\nhello") for reply in replies)
        assert set(server.statuses) == {200}


def test_a_large_response_leaves_at_once() -> None:
    with turns() as (app, server):
        app.body = b"x" * LARGE
        app.take(server, "a", "b")
        assert app.answered == ["a"]


def test_a_response_before_its_requests_body_leaves_at_once() -> None:
    """The rest of the body may take its time."""
    with turns() as (app, server):
        app.take(server, "a", "b")
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
        app.clients["a"].sendall(head + b"bo")
        app.clients["b"].sendall(get("/last"))
        assert [client.recv(65536)[-5:] for client in app.clients.values()] == [b"hello"] * 2
        assert app.answered == ["a"]
        app.clients["a"].sendall(b"dy" + get("/"))
        assert app.clients["a"].recv(65536).endswith(b"hello")


def test_what_a_generator_yields_leaves_at_once() -> None:
    """The application may go on after the last of it."""

    def generates(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        yield from app.application(environ, start_response)

    app = Turns()
    with running(generates) as server:
        app.take(server, "a", "b")
        assert app.answered == ["a"]


def test_nothing_is_kept_while_requests_take_long() -> None:
    def works_long() -> None:
        until = time.monotonic() + LONG
        while time.monotonic() < until:
            pass

    with turns() as (app, server):
        eventually(lambda: app.keeps(server))
        app.work = works_long
        eventually(lambda: not app.keeps(server))
        app.work = int
        assert not app.keeps(server)
        eventually(lambda: app.keeps(server))


def test_nobodys_response_waits_for_a_request_that_waits() -> None:
    with turns() as (app, server):
        app.take(server, "a", "b")
        received = Event()
        app.work = received.wait
        app.clients["a"].sendall(get("/"))
        app.clients["b"].sendall(get("/last"))
        assert app.clients["a"].recv(65536)
        received.set()
        assert app.clients["b"].recv(65536)


def test_pipelined_responses_come_in_order_and_do_not_wait() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        seen.append(has_something(clients[0]) if clients else False)
        return [environ["PATH_INFO"].encode()]

    seen: list[bool] = []
    clients: list[socket.socket] = []
    with running(application) as server:
        clients.append(server.connect())
        clients[0].sendall(get("/0") + get("/1") + get("/2"))
        received = b""
        while received.count(b"\r\n\r\n/") < 3:
            received += clients[0].recv(65536)
    assert seen == [False, True, True]
    assert re.findall(rb"\r\n\r\n/(.)", received) == [b"0", b"1", b"2"]


def test_a_client_that_does_not_read_yet_gets_all() -> None:
    """The kernel has no room for some of the responses, which are those that the turn's end would send."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        asked.append(environ["PATH_INFO"])
        return [environ["PATH_INFO"].encode().rjust(LARGE // 2)]

    asked: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with listener, running(application, listener=listener) as server:
        client = server.connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        paths: list[str] = []
        while paths == asked:  # until the server reads no more
            paths.append(f"/{len(paths)}.")
            client.sendall(get(paths[-1]))
            with gevent.Timeout(0.3, False):
                while paths != asked:
                    gevent.sleep(0.001)
        received = b""
        while paths[-1].encode() not in received:
            received += client.recv(65536)
        assert re.findall(rb" (/[0-9]+\.)", received) == [path.encode() for path in paths]
        assert len(asked) > 10


class Kept:
    """A stream with a response that is kept in an outbox, in a turn that goes on.

    Not the hub's outbox, which may be closed because the machine was slow of late.
    """

    def __init__(self, stream: Stream) -> None:
        self.outbox = stream._common.outbox = outbox_of(self)
        self.outbox.begin()
        stream.send_last(b"head ", b"body")
        assert stream.kept


def test_closing_sends_what_is_kept() -> None:
    with stream_pair() as (stream, client):
        kept = Kept(stream)
        stream.close()
        assert client.recv(100) == b"head body"
        kept.outbox.end()
        assert client.recv(100) == b""


def test_a_client_that_left_is_told_nothing() -> None:
    with stream_pair() as (stream, client):
        kept = Kept(stream)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        eventually(lambda: stream.lost)
        kept.outbox.end()
        stream.give_up()
        kept.outbox.begin()
        with pytest.raises(ClientDisconnected):
            stream.send_last(b"head ", b"body")
        kept.outbox.end()


def test_what_the_kernel_has_no_room_for_wakes_who_serves_the_client() -> None:
    with stream_pair() as (stream, client):
        filled = 0
        while sent := stream._sock.send(b"z" * 65536):
            filled += sent
        kept, woken = Kept(stream), Woken()
        stream.park(woken, 60)
        kept.outbox.end()
        assert woken.times == [False]
        sender = gevent.spawn(stream.send_kept)
        received = b""
        while not received.endswith(b"head body"):
            received += client.recv(1 << 20)
        assert len(received) == filled + len(b"head body")
        sender.get(timeout=5)


def test_a_forked_process_leaves_it_to_its_parent() -> None:
    with stream_pair() as (stream, client):
        kept = Kept(stream)
        child = os.fork()
        if not child:
            kept.outbox.end()
            os._exit(0)
        os.waitpid(child, 0)
        assert not has_something(client)
        kept.outbox.end()
        assert client.recv(100) == b"head body"


class Looking(Sleeper):
    """Notes whether responses are kept while it runs."""

    def __init__(self) -> None:
        self.seen: list[bool] = []

    def run(self) -> None:
        self.seen.append(outbox_of(get_hub()).open)
        self.greenlet = None


def test_responses_are_kept_where_a_turn_has_its_end() -> None:
    def look() -> bool:
        Runners(outbox_of(get_hub())).give(looking)
        gevent.sleep(0)
        return looking.seen.pop()

    looking = Looking()
    eventually(look)  # unless the machine was slow of late
    assert not outbox_of(get_hub()).open


def test_those_who_slept_keep_responses() -> None:
    module = pytest.importorskip("geventwsgi.serving.loop._alarm", reason="the compiled core is not built")

    def sleeps() -> bool:
        module.AlarmClock(get_hub(), outbox_of(get_hub())).sleep(0.001)
        return outbox_of(get_hub()).open

    eventually(lambda: gevent.spawn(sleeps).get(timeout=5))
    assert not outbox_of(get_hub()).open
