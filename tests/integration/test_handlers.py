"""WebSockets that are left to a handler, in real workers: who gets what, and what becomes of it when workers end."""

from __future__ import annotations

import re
import signal
import struct
import threading
from contextlib import ExitStack, contextmanager
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING

import pytest

from tests.support.process import Gwsgi
from tests.support.waiting import wait_until
from tests.support.websocket import TEXT, WebSocketClient, frame

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = "tests.support.fullapps.handler_app:application"
LOG = ("--access-logfile", "-", "--access-logformat", "%(s)s %(B)s %(U)s")


@contextmanager
def serving(*flags: str, **env: str) -> Iterator[Gwsgi]:
    with Gwsgi("--wsgi-websocket", *LOG, *flags, app=APP, env=env) as server:
        yield server


def worker_of(client: WebSocketClient) -> str:
    client.send("?")
    return str(client.receive())


@contextmanager
def spread(server: Gwsgi) -> Iterator[list[WebSocketClient]]:
    """Yield a client of each of two workers."""
    with ExitStack() as stack:
        clients: dict[str, WebSocketClient] = {}
        for _ in range(100):
            client = stack.enter_context(WebSocketClient(server.address, "/room"))
            clients.setdefault(worker_of(client), client)
            if len(clients) == 2:
                break
        yield list(clients.values())


def test_no_client_gets_what_is_anothers() -> None:
    with serving() as server, ExitStack() as stack:
        clients = [stack.enter_context(WebSocketClient(server.address, "/echo")) for _ in range(50)]
        for turn in range(20):
            for number, client in enumerate(clients):
                client.sock.sendall(frame(TEXT, b"%d.%d.0" % (number, turn)) + frame(TEXT, b"%d.%d.1" % (number, turn)))
            for number, client in enumerate(clients):
                assert [client.receive(), client.receive()] == [f"{number}.{turn}.{part}" for part in "01"]


@pytest.mark.parametrize("flags", [(), ("--greenlet-per-request",), ("--preload",)], ids=["", "per request", "preload"])
def test_what_a_call_leaves_in_its_greenlet_no_other_finds(flags: tuple[str, ...]) -> None:
    with serving(*flags) as server, ExitStack() as stack:
        clients = [stack.enter_context(WebSocketClient(server.address, "/leaves")) for _ in range(3)]
        for _ in range(5):
            for client in clients:
                client.sock.sendall(frame(TEXT, b"secret") * 2)
            for client in clients:
                assert [client.receive(), client.receive()] == ["nothing nothing"] * 2


def test_10_000_messages_reach_the_clients_of_two_workers_in_order() -> None:
    count = 10_000
    with serving("--workers", "2") as server, spread(server) as clients:
        one, other = clients
        one.send(str(count))
        for client in (one, other):
            numbers = [int(str(client.receive()).split()[1]) for _ in range(count)]
            assert numbers == list(range(count))


def test_a_client_that_comes_back_after_a_reload_goes_on_where_it_was() -> None:
    with serving("--workers", "2", "--no-handover") as server, spread(server) as (speaker, listener):
        speaker.send("one")
        place = str(listener.receive()).split()[0]
        server.signal(signal.SIGHUP)
        assert (listener.receive(), listener.close_code) == (None, 1012)
        speaker.receive()
        assert (speaker.receive(), speaker.close_code) == (None, 1012)
        with WebSocketClient(server.address, "/room") as late:
            worker_of(late)
            late.send("two")
            with WebSocketClient(server.address, f"/room?{place}") as client:
                assert str(client.receive()).split()[1] == '"two"'


def test_a_worker_that_stops_records_each_session() -> None:
    with serving() as server, ExitStack() as stack:
        clients = [stack.enter_context(WebSocketClient(server.address, "/echo")) for _ in range(20)]
        for client in clients:
            client.send("a")
            assert client.receive() == "a"
        server.signal(signal.SIGTERM)
        for client in clients:
            assert (client.receive(), client.close_code, client.rest()) == (None, 1012, b"")
        assert server.wait(20) == 0
        assert re.findall(r"^101 7 /echo$", server.stdout_text(), re.MULTILINE) == ["101 7 /echo"] * 20


def test_clients_that_vanish_are_recorded_and_leave_nothing() -> None:
    with serving() as server:
        for _ in range(20):
            with WebSocketClient(server.address, "/room") as client:
                worker_of(client)
                client.sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: server.stdout_text().count("499 ") == 20, 10, server.stdout_text)
        assert "Traceback" not in server.log_text()


def test_a_handler_that_fails_ends_its_own_client_alone() -> None:
    with (
        serving() as server,
        WebSocketClient(server.address, "/fails") as failing,
        WebSocketClient(server.address, "/echo") as other,
    ):
        failing.send("a")
        assert (failing.receive(), failing.close_code) == (None, 1011)
        other.send("a")
        assert other.receive() == "a"
        assert server.log_text().count("RuntimeError: on purpose") == 1


def test_a_process_that_a_handler_forks_ends_with_the_call() -> None:
    with serving() as server, WebSocketClient(server.address, "/forks") as client:
        client.send("a")
        assert str(client.receive()).startswith("parent of ")
        client.close()
        assert client.rest() == b""
        wait_until(lambda: "closed in" in server.stdout_text())
        assert server.stdout_text().count("closed in") == 1
        assert "A process that was forked in" in server.log_text()


def test_clients_beyond_limit_connections_wait() -> None:
    with serving("--limit-connections", "3") as server, ExitStack() as stack:
        clients = [stack.enter_context(WebSocketClient(server.address, "/echo")) for _ in range(3)]
        came = threading.Event()

        def connect() -> None:
            with WebSocketClient(server.address, "/echo") as late:
                late.send("late")
                assert late.receive() == "late"
                came.set()

        waiting = threading.Thread(target=connect)
        waiting.start()
        for client in clients:
            client.send("a")
            assert client.receive() == "a"
        assert not came.wait(0.3)
        clients[0].close()
        clients[0].sock.close()
        assert came.wait(10)
        waiting.join()
