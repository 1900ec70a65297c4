"""WebSockets by the libraries that applications use, unchanged, and by ``environ["wsgi.websocket"]``."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import certificates
from tests.support.client import Client
from tests.support.engineio import PATH, SocketIOClient
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until
from tests.support.websocket import PING, PONG, TEXT, WebSocketClient, frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPS = "tests.support.fullapps"
LOG = ("--access-logfile", "-", "--access-logformat", "%(s)s %(D)s %(U)s")
CLIENTS = 100
LARGE = "0123456789abcdef" * (8 << 16)
assert len(LARGE) == 8 << 20


@contextlib.contextmanager
def flask_sock(*flags: str, **env: str) -> Iterator[Gwsgi]:
    with Gwsgi(*flags, *LOG, app=f"{APPS}.flask_sock_app:app", env=env) as server:
        yield server


@contextlib.contextmanager
def flask_socketio(*flags: str, **env: str) -> Iterator[Gwsgi]:
    with Gwsgi(*flags, *LOG, app=f"{APPS}.flask_socketio_app:app", env=env) as server:
        yield server


@contextlib.contextmanager
def gevent_websocket(*flags: str) -> Iterator[Gwsgi]:
    with Gwsgi("--wsgi-websocket", *flags, *LOG, app=f"{APPS}.gevent_websocket_app:application") as server:
        yield server


@contextlib.contextmanager
def handler(*flags: str) -> Iterator[Gwsgi]:
    with Gwsgi("--wsgi-websocket", *flags, *LOG, app=f"{APPS}.handler_app:application") as server:
        yield server


SERVERS = {"flask-sock": flask_sock, "wsgi.websocket": gevent_websocket, "handler": handler}


def check_log(server: Gwsgi, sessions: int) -> None:
    """Check that each session was logged as 101 and that nothing went wrong."""
    wait_until(
        lambda: len(re.findall(r"^101 \d+ ", server.stdout_text(), re.MULTILINE)) == sessions, 10, server.stdout_text
    )
    assert "Traceback" not in server.log_text()
    assert "ERROR" not in server.log_text()


def test_flask_sock_echoes_and_broadcasts_to_100() -> None:
    with flask_sock() as server, contextlib.ExitStack() as stack:
        echoes = [stack.enter_context(WebSocketClient(server.address, "/echo")) for _ in range(CLIENTS)]
        for number, client in enumerate(echoes):
            client.send(f"echo {number}")
        assert [client.receive() for client in echoes] == [f"echo {number}" for number in range(CLIENTS)]
        listeners = [stack.enter_context(WebSocketClient(server.address, "/broadcast")) for _ in range(CLIENTS)]
        assert {client.receive() for client in listeners} == {"listening"}
        for number in range(3):
            listeners[number].send(f"news {number}")
            assert {client.receive() for client in listeners} == {f"news {number}"}
        for client in echoes + listeners:
            client.close()
            assert (client.close_code, client.rest()) == (1000, b"")
        check_log(server, 2 * CLIENTS)


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_flask_socketio_echoes_and_broadcasts_to_100(transport: str) -> None:
    with flask_socketio() as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(SocketIOClient(server.address, transport)) for _ in range(CLIENTS)]
        for number, client in enumerate(clients):
            client.emit("echo", number)
        assert [client.receive() for client in clients] == [["echo", number] for number in range(CLIENTS)]
        clients[0].emit("say", "news")
        assert [client.receive() for client in clients] == [["said", "news"]] * CLIENTS
        for client in clients:
            if client.websocket is not None:
                client.websocket.close()
                assert client.websocket.rest() == b""
        check_log(server, CLIENTS if transport == "websocket" else 0)


def test_the_official_client_begins_by_polling_and_upgrades() -> None:
    socketio = pytest.importorskip("socketio", reason="python-socketio is not installed")
    with flask_socketio() as server:
        client, heard, done = socketio.Client(), [], threading.Event()
        client.on("echo", lambda data: (heard.append(data), done.set()))
        client.connect(server.url)
        try:
            wait_until(lambda: client.transport() == "websocket")
            client.emit("echo", LARGE[: 1 << 20])
            assert done.wait(20)
            assert heard == [LARGE[: 1 << 20]]
        finally:
            client.disconnect()
            client.wait()
        check_log(server, 1)


def test_flask_socketio_where_gevent_websocket_is_installed(tmp_path: Path) -> None:
    """Engine.IO then asks for ``wsgi.websocket``, whatever the server is."""
    (tmp_path / "geventwebsocket.py").touch()
    flags = ("--wsgi-websocket", "--pythonpath", str(tmp_path))
    with flask_socketio(*flags, GEVENT_WEBSOCKET="1") as server, SocketIOClient(server.address, "websocket") as client:
        client.emit("echo", LARGE)
        assert client.receive() == ["echo", LARGE]
        assert client.websocket is not None
        client.websocket.close()
        check_log(server, 1)


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
@pytest.mark.parametrize("kind", SERVERS)
def test_8_mib_arrive_whole(kind: str, deflate: bool) -> None:
    with SERVERS[kind]() as server, WebSocketClient(server.address, "/echo", deflate=deflate) as client:
        assert client.deflates is deflate
        client.send(LARGE)
        assert client.receive() == LARGE
        client.close()
        assert client.rest() == b""
        check_log(server, 1)


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize(
    ("kind", "pings"), [("flask-sock", ""), ("flask-sock", "1"), ("wsgi.websocket", ""), ("handler", "")]
)
def test_frames_in_the_segment_of_the_handshake_arrive(kind: str, tls: bool, pings: str) -> None:
    """With pings simple-websocket selects before it receives."""
    flags = certificates().flags if tls else ()
    context = certificates().client_context() if tls else None
    early = frame(TEXT, b"one") + frame(TEXT, b"two")
    with (
        SERVERS[kind](*flags, **({"PINGS": pings} if pings else {})) as server,
        WebSocketClient(server.address, "/echo", early=early, tls=context, timeout=10) as client,
    ):
        assert (client.receive(), client.receive()) == ("one", "two")
        for size in (3, 30_000, 3):
            client.send("x" * size)
            assert client.receive() == "x" * size


def test_an_engine_io_packet_in_the_segment_of_the_handshake_arrives() -> None:
    with (
        flask_socketio() as server,
        WebSocketClient(server.address, PATH + "websocket", early=frame(TEXT, b"40")) as client,
    ):
        assert str(client.receive()).startswith("0{")
        assert str(client.receive()).startswith("40{")


def test_messages_of_many_senders_to_a_slow_reader_are_not_mixed() -> None:
    size = 300_000
    with flask_sock() as server, contextlib.ExitStack() as stack:
        slow, *others = [stack.enter_context(WebSocketClient(server.address, "/broadcast")) for _ in range(6)]
        assert {client.receive() for client in (slow, *others)} == {"listening"}
        for letter, client in zip("abcde", others, strict=True):
            client.send(letter * size)
        assert {slow.receive() for _ in others} == {letter * size for letter in "abcde"}


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM], ids=["HUP", "TERM"])
@pytest.mark.parametrize("kind", SERVERS)
def test_a_drain_closes_with_1012(kind: str, number: int) -> None:
    with SERVERS[kind]("--no-handover") as server, WebSocketClient(server.address, "/echo") as client:
        client.send("before")
        assert client.receive() == "before"
        server.signal(number)
        assert (client.receive(), client.close_code) == (None, 1012)
        assert client.rest() == b""
        if number == signal.SIGTERM:
            assert server.wait(20) == 0  # long before graceful_timeout
        check_log(server, 1)


def test_a_drain_closes_socketio_with_1012() -> None:
    with flask_socketio() as server, SocketIOClient(server.address, "websocket") as client:
        assert client.websocket is not None
        server.signal(signal.SIGTERM)
        assert (client.websocket.receive(), client.websocket.close_code) == (None, 1012)
        assert server.wait(20) == 0


@pytest.mark.parametrize("end", ["client closes", "server closes", "client vanishes"])
def test_an_ended_session_leaves_no_greenlet(end: str) -> None:
    with flask_sock() as server, Client(server.url) as http:

        def run(sessions: int) -> None:
            for _ in range(sessions):
                with WebSocketClient(server.address, "/once" if end == "server closes" else "/echo") as client:
                    client.send("a")
                    assert client.receive() == "a"
                    if end == "client closes":
                        client.close()
                    elif end == "server closes":
                        assert (client.receive(), client.close_code, client.rest()) == (None, 1000, b"")

        def greenlets() -> int:
            return int(http.get("/greenlets").text)

        run(3)
        wait_until(lambda: server.stdout_text().count("101 ") == 3)
        before = greenlets()
        run(20)
        wait_until(lambda: server.stdout_text().count("101 ") == 23)
        wait_until(lambda: greenlets() <= before + 2, 10, lambda: f"{greenlets()} greenlets, {before} before")
        assert "Traceback" not in server.log_text()


def test_a_handshake_that_fails_is_no_websocket() -> None:
    with gevent_websocket() as server, Client(server.url) as client:
        assert client.get("/echo").text == "no WebSocket\n"
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        assert client.get("/echo", headers).status == 400
        assert client.get("/echo", {**headers, "Sec-WebSocket-Version": "8"}).status == 426


def test_ping_is_answered_by_libraries_too() -> None:
    with flask_sock() as server, WebSocketClient(server.address, "/echo") as client:
        client.sock.sendall(frame(PING, b"hi"))
        data = b""
        while len(data) < 4:
            data += client.sock.recv(4)
        assert data == bytes([0x80 | PONG, 2]) + b"hi"
