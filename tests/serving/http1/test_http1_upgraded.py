"""WebSockets that are left to a handler: between two messages a connection has no greenlet."""

from __future__ import annotations

import gc
import io
import os
import socket
import struct
import threading
import time
import weakref
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from types import GeneratorType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import gevent
import pytest
from greenlet import getcurrent, greenlet

from geventwsgi.events import Channel, subscribe
from geventwsgi.serving.server import WSGIServer
from geventwsgi.testing import live_server
from geventwsgi.wsgi.sessions import handled
from geventwsgi.wsgi.websocket import WebSocketError
from tests.support import websocket_server
from tests.support.certificates import certificates
from tests.support.eventually import eventually
from tests.support.waiting import wait_until
from tests.support.websocket import BINARY, CLOSE, PING, PONG, TEXT, WebSocketClient, frame
from tests.support.websocket_server import LIMIT, WebSocketServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

VARIABLE: ContextVar[str] = ContextVar("VARIABLE")
LOCAL = threading.local()


class Handler:
    """Notes its calls; by default an echo."""

    def __init__(self, **methods: Callable[..., object]) -> None:
        self.methods = methods
        self.calls: list[tuple[Any, ...]] = []
        #: The WebSockets, in the order in which they were opened.
        self.sockets: list[Any] = []

    def _do(self, name: str, ws: Any, *arguments: Any) -> bool:
        self.calls.append((name, *arguments))
        if name in self.methods:
            self.methods[name](ws, *arguments)
        return name in self.methods

    def on_open(self, ws: Any) -> None:
        self.sockets.append(ws)
        self._do("open", ws)

    def on_message(self, ws: Any, message: str | bytes) -> None:
        if not self._do("message", ws, message):
            ws.send(message)

    def on_close(self, ws: Any, code: int, reason: str) -> None:
        self._do("close", ws, code, reason)

    @property
    def end(self) -> tuple[Any, ...]:
        """The last call, once it is the one that tells of the end."""
        wait_until(lambda: self.calls and self.calls[-1][0] == "close", 20, lambda: self.calls)
        return self.calls[-1][1:]


class Served(WebSocketServer):
    """A server that leaves each WebSocket to one handler."""

    def __init__(self, handler: Any, before: Callable[[dict[str, Any]], object]) -> None:
        super().__init__(self._leave)
        self.handler, self.before = handler, before

    def _leave(self, environ: dict[str, Any]) -> Any:
        self.before(environ)
        return environ["wsgi.websocket"].handle(self.handler)


def serving(
    handler: Any = None, before: Callable[[dict[str, Any]], object] = lambda _environ: None, **settings: Any
) -> AbstractContextManager[Served]:
    served = Served(Handler() if handler is None else handler, before)
    return websocket_server.serving(served, **{"access_log_format": "%(s)s %(B)s", **settings})


def receive_exactly(sock: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, data
        data += piece
    return data


def reset(client: WebSocketClient) -> None:
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()


def receive_to_the_reset(client: WebSocketClient) -> int | None:
    """Return the status of the close frame of a server that may reset the connection after it."""
    with suppress(ConnectionResetError):
        client.receive()
    return client.close_code


class TestMessages:
    @pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
    @pytest.mark.parametrize("message", ["text", b"bytes", "", "é" * 200_000, b"\0" * 200_000])
    def test_an_echo(self, message: str | bytes, deflate: bool) -> None:
        with serving() as served, served.connect(deflate=deflate) as client:
            assert client.accepted and client.deflates is deflate
            for _ in range(3):
                client.send(message)
                assert client.receive() == message

    @pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
    def test_frames_in_the_segment_of_the_handshake_arrive(self, tls: bool) -> None:
        settings = {"certfile": certificates().certfile, "keyfile": certificates().keyfile} if tls else {}
        context = certificates().client_context() if tls else None
        early = frame(TEXT, b"one") + frame(TEXT, b"two")
        with serving(**settings) as served, served.connect(early=early, tls=context) as client:
            assert (client.receive(), client.receive()) == ("one", "two")
            for size in (3, 100_000, 3):
                client.send("x" * size)
                assert client.receive() == "x" * size

    def test_fragments_with_control_frames_between_them_are_one_message(self) -> None:
        pieces = frame(TEXT, b"a", fin=False) + frame(PING, b"hi") + frame(0, b"b", fin=False) + frame(0, b"c")
        with serving() as served, served.connect() as client:
            for at in range(len(pieces)):
                client.sock.sendall(pieces[at : at + 1])
            assert receive_exactly(client.sock, 4) == bytes([0x80 | PONG, 2]) + b"hi"
            assert client.receive() == "abc"

    def test_messages_are_handled_one_at_a_time_and_in_order(self) -> None:
        running: list[int] = []

        def message(ws: Any, _message: str) -> None:
            running.append(1)
            gevent.sleep(0.001)
            assert len(running) == 1
            running.pop()

        handler = Handler(message=message)
        with serving(handler) as served, served.connect() as client:
            client.sock.sendall(b"".join(frame(TEXT, b"%d" % number) for number in range(50)))
            client.close()
        assert handler.calls == [("open",), *(("message", str(number)) for number in range(50)), ("close", 1000, "")]

    def test_a_client_whose_handler_waits_does_not_stop_others(self) -> None:
        go = threading.Event()

        def message(ws: Any, message: str) -> None:
            while message == "wait" and not go.is_set():
                gevent.sleep(0.01)
            ws.send(message)

        with serving(Handler(message=message)) as served, served.connect() as one, served.connect() as other:
            one.send("wait")
            other.send("go")
            assert other.receive() == "go"
            go.set()
            assert one.receive() == "wait"

    def test_the_first_message_may_be_received_before_it_is_left_to_the_handler(self) -> None:
        first: list[Any] = []
        with (
            serving(before=lambda environ: first.append(environ["wsgi.websocket"].receive())) as served,
            served.connect(early=frame(TEXT, b"one") + frame(TEXT, b"two") + frame(TEXT, b"th", fin=False)) as client,
        ):
            assert client.receive() == "two"
            client.sock.sendall(frame(0, b"ree"))
            assert client.receive() == "three"
            assert first == ["one"]

    def test_what_a_handler_needs_is_on_the_websocket(self) -> None:
        handler = Handler(message=lambda ws, message: ws.send(f"{ws.path} {ws.origin} {ws.protocol} {ws.data}"))

        class App:
            app_protocol = staticmethod(lambda path: "chat")

            def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
                return environ["wsgi.websocket"].handle(handler, data="mine")

        fields = ("Origin: http://here", "Sec-WebSocket-Protocol: old, chat")
        with live_server(App(), wsgi_websocket=True) as url:
            parts = urlsplit(url)
            with WebSocketClient((str(parts.hostname), int(parts.port or 0)), "/room", fields=fields) as client:
                client.send("?")
                assert client.receive() == "/room http://here chat mine"

    def test_a_handler_needs_no_more_than_on_message(self) -> None:
        class Least:
            def on_message(self, ws: Any, message: str) -> None:
                ws.send(message)

        with serving(Least()) as served, served.connect() as client:
            client.send("a")
            assert client.receive() == "a"
            client.close(3000)
            assert client.close_code == 3000
            assert served.records() == ["101 7"]

    def test_a_send_after_another_greenlet_has_closed_is_a_failure_of_the_handler(self) -> None:
        def message(ws: Any, _message: str) -> None:
            gevent.spawn(ws.close, 3000).join()
            ws.send("late")

        handler = Handler(message=message)
        with serving(handler) as served, served.connect() as client:
            client.send("go")
            assert (client.receive(), client.close_code) == (None, 3000)
            assert handler.end == (3000, "")
            served.records()
        assert "WebSocketError: the WebSocket is closed (3000)" in served.errors.getvalue()

    def test_an_object_without_on_message_is_refused_before_the_handshake(self) -> None:
        with serving(object()) as served, served.connect() as client:
            assert client.head.startswith(b"HTTP/1.1 500 ")
        assert "on_message" in served.errors.getvalue()


def rests() -> list[Any]:
    """Return what is left of bodies that an application has returned."""
    return [each for each in gc.get_objects() if type(each) is GeneratorType and each.__name__ == "_rest"]


class TestParked:
    def test_nothing_of_the_request_is_left_between_two_messages(self) -> None:
        class Kept:
            pass

        kept: list[Any] = []
        greenlets: list[Any] = []

        def before(environ: dict[str, Any]) -> None:
            environ["test.kept"] = thing = Kept()
            kept.append(weakref.ref(thing))
            greenlets.append(weakref.ref(getcurrent()))

        others = rests()  # of tests that ran before
        clients: list[WebSocketClient] = []
        server = WSGIServer(("127.0.0.1", 0), Served(Handler(), before).application, wsgi_websocket=True, log=None)
        server.start()
        try:
            clients += [gevent.get_hub().threadpool.apply(WebSocketClient, (server.address,)) for _ in range(20)]
            for client in clients:
                client.send("a")
            for client in clients:
                assert gevent.get_hub().threadpool.apply(client.receive) == "a"
            gevent.sleep(0.05)
            assert not any(isinstance(key, greenlet) for key in server.in_flight())
            assert len(server.in_flight()) == 20
            gc.collect()
            assert [each() for each in kept] == [None] * 20
            assert not [found for found in rests() if not any(found is other for other in others)]
        finally:
            for client in clients:
                client.sock.close()
            server.stop(0)

    def test_neither_variables_nor_locals_reach_the_next_call(self) -> None:
        seen: list[Any] = []

        def note(ws: Any, *_arguments: Any) -> None:
            seen.append((VARIABLE.get("none"), getattr(LOCAL, "value", "none"), vars(getcurrent()).get("mine")))
            VARIABLE.set("left")
            LOCAL.value = "left"
            getcurrent().mine = "left"

        handler = Handler(open=note, message=note, close=note)
        with serving(handler) as served, served.connect() as client:
            client.sock.sendall(frame(TEXT, b"one") + frame(TEXT, b"two"))
            client.send("three")
            client.close()
        # A thread-local without gevent's patches is the thread's.
        assert [(each[0], each[2]) for each in seen] == [("none", None)] * 5

    def test_a_ping_is_answered_without_the_handler(self) -> None:
        handler = Handler()
        with serving(handler) as served, served.connect() as client:
            client.sock.sendall(frame(PING, b"hi"))
            assert receive_exactly(client.sock, 4) == bytes([0x80 | PONG, 2]) + b"hi"
            assert handler.calls == [("open",)]

    def test_a_client_is_pinged_while_it_is_parked(self) -> None:
        with serving(websocket_ping_interval=1) as served, served.connect() as client:
            for _ in range(2):
                assert receive_exactly(client.sock, 2) == bytes([0x80 | PING, 0])
                client.sock.sendall(frame(PONG))
            client.send("a")
            assert client.receive() == "a"

    def test_a_client_that_does_not_answer_a_ping_counts_as_gone(self) -> None:
        handler = Handler()
        with (
            serving(handler, websocket_ping_interval=1, websocket_ping_timeout=1) as served,
            served.connect() as client,
        ):
            assert receive_exactly(client.sock, 2) == bytes([0x80 | PING, 0])
            assert handler.end == (1006, "")
            assert served.records()[0].startswith("499 ")

    def test_a_flood_of_small_messages_does_not_hold_the_loop(self) -> None:
        def message(ws: Any, message: str) -> None:
            if message == "last":
                ws.send("last")

        flood = frame(TEXT, b"x") * 100_000
        with serving(Handler(message=message)) as served, served.connect() as client:
            served.get()
            sender = threading.Thread(target=client.sock.sendall, args=(flood + frame(TEXT, b"last"),))
            sender.start()
            assert client.receive() == "last"
            sender.join()
            assert served.longest_turn() < 0.1

    def test_a_client_that_pings_and_reads_nothing_is_not_read_any_more(self) -> None:
        flood = frame(PING, b"x" * 125) * 8000
        with serving() as served, served.connect() as client:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.sock.settimeout(1)
            with pytest.raises(TimeoutError):
                client.sock.sendall(flood * 100)
            assert served.get()


class TestSending:
    def test_messages_of_other_requests_arrive_whole_and_in_order(self) -> None:
        handler = Handler(message=lambda ws, message: None)
        with serving(handler) as served, served.connect() as client:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            wait_until(lambda: handler.sockets)
            (ws,) = handler.sockets

            def tell(_environ: Any) -> None:
                for letter in "abcde":
                    gevent.spawn(lambda letter=letter: [ws.send(letter * 100_000) for _ in range(4)])

            served.before = tell
            with served.connect():
                messages = [client.receive() for _ in range(20)]
            assert sorted(messages) == sorted(letter * 100_000 for letter in "abcde" * 4)

    def test_a_greenlet_that_sends_to_a_slow_client_waits(self) -> None:
        sent: list[int] = []

        def message(ws: Any, _message: str) -> None:
            for number in range(100):
                ws.send(b"x" * 100_000)
                sent.append(number)

        with serving(Handler(message=message)) as served, served.connect() as client:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.send("go")
            wait_until(lambda: sent)
            served.get()
            before = len(sent)
            assert before < 90
            assert [len(client.receive() or b"") for _ in range(100)] == [100_000] * 100

    def test_a_client_that_reads_nothing_is_dropped_after_write_timeout(self) -> None:
        def message(ws: Any, _message: str) -> None:
            while True:
                ws.send(b"x" * 100_000)

        handler = Handler(message=message)
        with serving(handler, write_timeout=1) as served, served.connect() as client:
            client.send("go")
            assert handler.end == (1006, "")
            assert served.records()[0].startswith("499 ")
        assert "Traceback" not in served.errors.getvalue()

    def test_a_large_message_is_compressed_a_step_at_a_time_and_others_keep_their_order(self) -> None:
        data = os.urandom(1 << 20)

        def message(ws: Any, _message: str) -> None:
            large = gevent.spawn(ws.send, data)
            gevent.sleep(0)
            ws.send("small " * 20)
            large.get()

        with (
            serving(Handler(message=message), websocket_max_message_size=2 << 20) as served,
            served.connect(deflate=True) as client,
        ):
            client.send("go")
            assert [client.receive(), client.receive()] == [data, "small " * 20]


class TestEnds:
    def test_a_client_that_closes(self) -> None:
        handler = Handler()
        with serving(handler) as served, served.connect() as client:
            client.sock.sendall(frame(CLOSE, struct.pack("!H", 4001) + b"enough"))
            assert client.receive() is None
            assert client.close_code == 4001
            assert client.rest() == b""
            assert handler.end == (4001, "enough")
            assert served.records() == ["101 10"]

    def test_a_close_without_a_code_is_1005(self) -> None:
        handler = Handler()
        with serving(handler) as served, served.connect() as client:
            client.sock.sendall(frame(CLOSE))
            assert client.rest() == bytes([0x80 | CLOSE, 0])
            assert handler.end == (1005, "")

    @pytest.mark.parametrize("by", ["handler", "other"])
    def test_the_server_closes(self, by: str) -> None:
        handler = Handler(message=lambda ws, message: ws.close(4002, "over") if by == "handler" else None)
        with serving(handler) as served, served.connect() as client:
            wait_until(lambda: handler.sockets)
            (ws,) = handler.sockets
            if by == "other":
                served.before = lambda _environ: ws.close(4002, "over")
                with served.connect():
                    pass
            else:
                client.send("a")
            assert (client.receive(), client.close_code, client.rest()) == (None, 4002, b"")
            assert ("close", 4002, "over") in handler.calls
            assert ws.closed
            with pytest.raises(WebSocketError, match="closed"):
                ws.send("late")

    def test_a_slow_client_gets_all_that_was_sent_before_the_close(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handled, "CLOSE_WAIT", 0.1)

        def message(ws: Any, _message: str) -> None:
            ws.send(b"x" * 8_000_000)
            ws.close(4002, "over")

        handler = Handler(message=message)
        with serving(handler) as served, served.connect() as client:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.send("go")
            assert handler.end == (4002, "over")
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                served.get()
            assert len(client.receive() or b"") == 8_000_000
            assert (client.receive(), client.close_code, client.rest()) == (None, 4002, b"")

    def test_messages_after_the_servers_close_are_not_handled(self) -> None:
        handler = Handler(message=lambda ws, message: ws.close())
        with serving(handler) as served, served.connect() as client:
            client.sock.sendall(frame(TEXT, b"one") + frame(TEXT, b"two"))
            assert client.receive() is None
            assert handler.end == (1000, "")
            assert handler.calls == [("open",), ("message", "one"), ("close", 1000, "")]

    def test_a_client_that_does_not_answer_the_close_is_waited_for_two_seconds(self) -> None:
        handler = Handler(message=lambda ws, message: ws.close())
        with serving(handler) as served, served.connect() as client:
            began = time.monotonic()
            client.sock.sendall(frame(TEXT, b"one") + frame(TEXT, b"two"))
            assert client.rest() == bytes([0x80 | CLOSE, 2]) + struct.pack("!H", 1000)
            assert 1.5 < time.monotonic() - began < 4

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (frame(TEXT, b"\xff"), 1007),
            (frame(TEXT, b"a", mask=None), 1002),
            (frame(3, b"a"), 1002),
            (frame(BINARY, b"x" * (LIMIT + 1)), 1009),
        ],
        ids=["UTF-8", "mask", "opcode", "size"],
    )
    def test_a_fault_closes_with_its_code(self, data: bytes, code: int) -> None:
        handler = Handler()
        with serving(handler) as served, served.connect() as client:
            client.sock.sendall(frame(TEXT, b"before") + data)
            assert client.receive() == "before"
            assert (client.receive(), client.close_code) == (None, code)
            assert handler.end[0] == code
            assert served.records()[0].startswith("101 ")
        assert served.errors.getvalue() == ""

    @pytest.mark.parametrize("end", ["reset", "end"])
    @pytest.mark.parametrize("while_it_waits", [False, True], ids=["parked", "in a call"])
    def test_a_client_that_vanishes_is_noticed_at_once(self, end: str, while_it_waits: bool) -> None:
        closed: list[Any] = []

        def message(ws: Any, _message: str) -> None:
            began = time.monotonic()
            while end == "reset" and not ws.closed and time.monotonic() - began < 5:
                gevent.sleep(0.01)
            closed.append(ws.closed)

        handler = Handler(message=message)
        with serving(handler) as served, served.connect() as client:
            wait_until(lambda: handler.sockets)
            if while_it_waits:
                client.send("a")
                wait_until(lambda: len(handler.calls) == 2)
            began = time.monotonic()
            if end == "reset":
                reset(client)
            else:
                client.sock.close()
            assert handler.end == (1006, "")
            assert time.monotonic() - began < 1
            assert served.records()[0].startswith("499 ")
            assert closed == [end == "reset"] * while_it_waits
        assert served.errors.getvalue() == ""

    @pytest.mark.parametrize("where", ["open", "message", "close"])
    def test_a_handler_that_fails(self, where: str) -> None:
        def fail(*_arguments: Any) -> None:
            raise RuntimeError("on purpose")

        handler = Handler(**{where: fail})
        with serving(handler) as served, served.connect() as client:
            if where == "close":
                client.close()
                assert client.close_code == 1000
            else:
                client.send("a")
                assert (client.receive(), client.close_code) == (None, 1011)
            assert handler.end == ((1000, "") if where == "close" else (1011, ""))
            assert served.records()[0].startswith("101 ")
            log = served.errors.getvalue()
            assert log.count("RuntimeError: on purpose") == 1
            assert 'Error handling request "GET / HTTP/1.1"' in log

    def test_an_application_that_fails_after_it_has_left_the_websocket(self) -> None:
        handler = Handler()

        def application(environ: dict[str, Any], _start_response: Any) -> Any:
            environ["wsgi.websocket"].handle(handler)
            raise RuntimeError("on purpose")

        with live_server(application, wsgi_websocket=True) as url:
            parts = urlsplit(url)
            with WebSocketClient((str(parts.hostname), int(parts.port or 0))) as client:
                assert (client.receive(), client.close_code) == (None, 1011)
        assert handler.calls == []

    def test_the_applications_own_object_is_closed_once_it_is_left(self) -> None:
        errors: list[Any] = []

        def application(environ: dict[str, Any], _start_response: Any) -> Any:
            websocket = environ["wsgi.websocket"]
            yield from websocket.handle(Handler())
            for use in (lambda: websocket.send("a"), websocket.receive, lambda: websocket.handle(Handler())):
                with pytest.raises(WebSocketError, match="has a handler") as raised:
                    use()
                errors.append(raised)

        with live_server(application, wsgi_websocket=True) as url:
            parts = urlsplit(url)
            with WebSocketClient((str(parts.hostname), int(parts.port or 0))) as client:
                client.send("a")
                assert client.receive() == "a"
        assert len(errors) == 3

    def test_an_ended_websocket_is_of_no_use(self) -> None:
        handler = Handler()
        with serving(handler) as served, served.connect() as client:
            client.close()
            assert handler.end
            served.records()
            (ws,) = handler.sockets
            for use in (lambda: ws.send("a"), lambda: ws.subscribe(Channel("ended"))):
                with pytest.raises(WebSocketError):
                    use()
            ws.close()
            ws.unsubscribe()
            assert (ws.closed, ws.handler) == (True, None)

    def test_each_session_is_recorded_with_its_bytes(self) -> None:
        with serving() as served, served.connect() as client:
            client.send("abc")
            assert client.receive() == "abc"
            client.close()
            assert client.rest() == b""
            assert served.records() == ["101 9"]  # 5 for the message, 4 for the close


class TestServers:
    @contextmanager
    def run(self, handler: Any, **settings: Any) -> Iterator[tuple[WSGIServer, Callable[[], WebSocketClient]]]:
        application = Served(handler, lambda _environ: None).application
        server = WSGIServer(("127.0.0.1", 0), application, wsgi_websocket=True, log=None, **settings)
        server.start()
        pool = gevent.get_hub().threadpool
        with ExitStack() as stack:
            stack.callback(server.stop, 0)
            yield server, lambda: stack.enter_context(pool.apply(WebSocketClient, (server.address,)))

    def test_a_drain_closes_with_1012(self) -> None:
        handler = Handler()
        with self.run(handler) as (server, connect):
            clients = [connect() for _ in range(3)]
            pool = gevent.get_hub().threadpool
            ends = [pool.spawn(lambda client=client: (client.receive(), client.close_code)) for client in clients]
            began = time.monotonic()
            server.stop(10)
            assert time.monotonic() - began < 3
            assert [end.get() for end in ends] == [(None, 1012)] * 3
        assert handler.calls.count(("close", 1012, "")) == 3

    @pytest.mark.parametrize("name", ["open", "message"])
    def test_a_drain_lets_the_method_that_runs_end(self, name: str) -> None:
        def work(ws: Any, *_message: str) -> None:
            gevent.sleep(0.3)
            ws.send("answer")

        handler = Handler(**{name: work})
        with self.run(handler) as (server, connect):
            client = connect()
            if name == "message":
                client.send("go")
            eventually(lambda: handler.calls[-1:] and handler.calls[-1][0] == name)
            end = gevent.get_hub().threadpool.spawn(lambda: [client.receive(), client.receive(), client.close_code])
            server.stop(10)
            assert end.get() == ["answer", None, 1012]

    def test_a_drain_closes_after_the_method_that_runs_whatever_the_client_has_sent_since(self) -> None:
        handler = Handler(message=lambda ws, message: (gevent.sleep(0.2), ws.send(message)))
        with self.run(handler) as (server, connect):
            client = connect()
            for message in ("one", "two", "three"):
                client.send(message)
            eventually(lambda: ("message", "one") in handler.calls)
            end = gevent.get_hub().threadpool.spawn(lambda: [client.receive(), client.receive(), client.close_code])
            server.stop(10)
            assert end.get() == ["one", None, 1012]

    @pytest.mark.parametrize("spawn", ["default", 5], ids=["runners", "pool"])
    def test_a_drain_closes_a_websocket_that_a_greenlet_has_just_got(self, spawn: Any) -> None:
        with self.run(Handler(), spawn=spawn) as (server, connect):
            client = connect()
            (connection,) = server.guests()
            eventually(lambda: not connection.is_at_work())
            connection.exchange.rouse()  # as for a part of a message
            assert connection.is_at_work()
            end = gevent.get_hub().threadpool.spawn(lambda: (client.receive(), client.close_code))
            assert server.drain(5)
            assert end.get() == (None, 1012)

    def test_a_handler_that_sends_when_a_drain_has_closed_its_websocket_has_not_failed(self) -> None:
        errors, handler = io.StringIO(), Handler(close=lambda ws, *_: ws.send("late"))
        with self.run(handler, error_log=errors) as (server, connect):
            pool = gevent.get_hub().threadpool
            end = pool.spawn(connect().receive)
            server.stop(10)
            assert end.get() is None
        assert handler.calls[-1] == ("close", 1012, "")
        assert "Error handling" not in errors.getvalue()

    def test_a_drain_does_not_wait_for_a_closed_client_that_reads_nothing(self) -> None:
        def message(ws: Any, _message: str) -> None:
            ws.send(b"x" * 8_000_000)
            ws.close()

        handler = Handler(message=message)
        with self.run(handler) as (server, connect):
            connect().send("go")
            eventually(lambda: handler.calls[-1:] == [("close", 1000, "")])
            began = time.monotonic()
            server.stop(20)
            assert time.monotonic() - began < 10

    def test_a_handler_that_does_not_end_is_ended_and_the_end_told(self) -> None:
        ended: list[str] = []

        def message(ws: Any, _message: str) -> None:
            try:
                gevent.sleep(100)
            except gevent.GreenletExit:
                ended.append("killed")
                raise

        handler = Handler(message=message)
        with self.run(handler) as (server, connect):
            client = connect()
            client.send("a")
            while len(handler.calls) < 2:
                gevent.sleep(0.01)
            server.stop(0.1)
        assert ended == ["killed"]
        assert handler.calls[-1] == ("close", 1012, "")

    def test_a_client_whose_handler_does_not_end_is_told_1012(self) -> None:
        handler = Handler(message=lambda _ws, _message: gevent.sleep(100))
        with self.run(handler) as (server, connect):
            client = connect()
            client.send("a")
            eventually(lambda: ("message", "a") in handler.calls)
            end = gevent.get_hub().threadpool.spawn(receive_to_the_reset, client)
            server.stop(0.2)
            assert end.get() == 1012

    def test_a_handler_that_does_not_end_is_named_in_the_log(self) -> None:
        errors, handler = io.StringIO(), Handler(message=lambda _ws, _message: gevent.sleep(100))
        with self.run(handler, error_log=errors) as (server, connect):
            connect().send("a")
            eventually(lambda: ("message", "a") in handler.calls)
            server.stop(0.2)
        assert 'Cut, since it had not ended after 0.2 s: "GET / ' in errors.getvalue()

    def test_with_a_pool_each_call_has_a_greenlet_of_it(self) -> None:
        pool = gevent.pool.Pool(5)
        greenlets: list[Any] = []

        def message(ws: Any, message: str) -> None:
            greenlets.append(getcurrent() in pool.greenlets)
            ws.send(message)

        with self.run(Handler(message=message), spawn=pool) as (_server, connect):
            clients = [connect() for _ in range(8)]
            for client in clients:
                client.send("a")
            for client in clients:
                assert gevent.get_hub().threadpool.apply(client.receive) == "a"
        assert greenlets == [True] * 8


class TestChannels:
    @pytest.fixture
    def channel(self) -> Iterator[Channel]:
        with Channel("handled", keep=100) as made:
            yield made

    def publishing(self, channel: Channel, *values: Any) -> Callable[[dict[str, Any]], object]:
        def publish(_environ: dict[str, Any]) -> None:
            for value in values:
                channel.publish(value)

        return publish

    def test_what_is_published_is_sent_as_text(self, channel: Channel) -> None:
        handler = Handler(open=lambda ws: (ws.subscribe(channel), ws.send("ready")))
        with serving(handler) as served, ExitStack() as stack:
            clients = [stack.enter_context(served.connect()) for _ in range(5)]
            assert [client.receive() for client in clients] == ["ready"] * 5
            served.before = self.publishing(channel, {"a": 1}, "é")
            stack.enter_context(served.connect())
            assert [(client.receive(), client.receive()) for client in clients] == [('{"a":1}', '"é"')] * 5

    def test_it_begins_after_a_place(self, channel: Channel) -> None:
        handler = Handler(message=lambda ws, place: ws.subscribe(channel, after=place))
        with serving(handler, self.publishing(channel, 1, 2, 3)) as served, served.connect() as client:
            wait_until(lambda: handler.sockets)
            served.before = lambda _environ: places.extend(message.id for message in channel.messages)
            places: list[str] = []
            with served.connect():
                wait_until(lambda: len(places) == 3)
            client.send(places[0])
            assert (client.receive(), client.receive()) == ("2", "3")

    def test_several_channels_and_the_end_of_one(self, channel: Channel) -> None:
        other = Channel("handled-too")

        def message(ws: Any, message: str) -> None:
            if message == "less":
                ws.unsubscribe(Channel("handled"))
            channel.publish(message)
            other.publish(message + "!")

        handler = Handler(open=lambda ws: ws.subscribe([channel, other, Channel("handled")]), message=message)
        with serving(handler) as served, served.connect() as client, other:
            client.send("a")
            assert {client.receive(), client.receive()} == {'"a"', '"a!"'}
            client.send("less")
            assert client.receive() == '"less!"'
            client.send("b")
            assert client.receive() == '"b!"'

    def test_a_subscription_to_several_channels_has_one_position(self, channel: Channel) -> None:
        other = Channel("handled-three")
        handler = Handler(
            open=lambda ws: ws.subscribe(subscribe([channel, other]), encode=lambda message: message.id + message.text),
            message=lambda ws, message: (channel.publish(1), other.publish(2)),
        )
        with serving(handler) as served, served.connect() as client, other:
            client.send("a")
            texts = [str(client.receive()), str(client.receive())]
            assert [text[-1] for text in texts] == ["1", "2"]
            assert all("~" in text for text in texts)

    def test_the_text_is_encoded_once_for_all(self, channel: Channel) -> None:
        encoded: list[str] = []

        def encode(message: Any) -> str:
            encoded.append(message.text)
            return f"{message.channel}: {message.data}"

        handler = Handler(open=lambda ws: (ws.subscribe(channel, encode=encode), ws.send("ready")))
        with serving(handler) as served, ExitStack() as stack:
            clients = [stack.enter_context(served.connect()) for _ in range(10)]
            assert [client.receive() for client in clients] == ["ready"] * 10
            served.before = self.publishing(channel, 1)
            stack.enter_context(served.connect())
            assert [client.receive() for client in clients] == ["handled: 1"] * 10
        assert encoded == ["1"]

    def test_an_encoder_that_fails_closes_with_1011(self, channel: Channel) -> None:
        handler = Handler(
            open=lambda ws: ws.subscribe(channel, encode=lambda message: 1 / 0),
            message=lambda ws, message: channel.publish(1),
        )
        with serving(handler) as served, served.connect() as client:
            client.send("a")
            assert (client.receive(), client.close_code) == (None, 1011)
            assert handler.end == (1011, "")
        assert "ZeroDivisionError" in served.errors.getvalue()

    @pytest.mark.parametrize("told", [True, False])
    def test_a_slow_client_is_told_what_it_has_missed(self, channel: Channel, told: bool) -> None:
        count, size = 1000, 50_000
        options = {} if told else {"missed": lambda count: None}

        def flood(_environ: Any) -> None:
            for number in range(count):
                channel.publish(f"{number:06}" + "x" * size)

        handler = Handler(open=lambda ws: (ws.subscribe(channel, **options), ws.send("ready")))
        with serving(handler) as served, served.connect() as client:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            assert client.receive() == "ready"
            served.before = flood
            with served.connect() as other:
                assert other.receive() == "ready"
                last, seen, missed = -1, 0, 0
                while last < count - 1:
                    text = str(client.receive())
                    if text.startswith("{"):
                        missed += int(text.removeprefix('{"missed":').removesuffix("}"))
                        continue
                    number = int(text[1:7])
                    assert number > last
                    last, seen = number, seen + 1
        assert seen < count
        assert missed == (count - seen if told else 0)

    def test_10_000_messages_none_lost_none_doubled_in_order(self) -> None:
        count = 10_000

        def publish(_environ: Any) -> None:
            for number in range(count):
                news.publish(number)

        handler = Handler(open=lambda ws: (ws.subscribe(news), ws.send("ready")))
        with Channel("many", keep=count) as news, serving(handler) as served, ExitStack() as stack:
            clients = [stack.enter_context(served.connect()) for _ in range(3)]
            assert [client.receive() for client in clients] == ["ready"] * 3
            served.before = publish
            stack.enter_context(served.connect())
            for client in clients:
                assert [client.receive() for _ in range(count)] == [str(number) for number in range(count)]

    def test_a_closed_channel_ends_its_subscription_alone(self) -> None:
        news = Channel("ending")
        handler = Handler(open=lambda ws: ws.subscribe(news), message=lambda ws, message: (news.close(), ws.send("on")))
        with serving(handler) as served, served.connect() as client:
            client.send("a")
            assert client.receive() == "on"
            client.send("b")
            assert client.receive() == "on"

    def test_an_ended_session_has_no_subscription(self, channel: Channel) -> None:
        handler = Handler(open=lambda ws: ws.subscribe(channel))
        with serving(handler) as served, served.connect() as client:
            wait_until(lambda: channel.join().subscriptions)
            reset(client)
            assert handler.end == (1006, "")
            wait_until(lambda: not channel.join().subscriptions)
            del served

    def test_too_many_channels_are_refused(self) -> None:
        def message(ws: Any, message: str) -> None:
            with pytest.raises(ValueError, match="100 channels"):
                ws.subscribe([Channel(f"handled-{number}") for number in range(101)])
            ws.send(message)

        with serving(Handler(message=message)) as served, served.connect() as client:
            client.send("a")
            assert client.receive() == "a"
