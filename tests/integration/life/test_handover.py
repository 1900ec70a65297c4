"""A reload or an upgrade ends no connection that waits: a stream, a long-poll, a WebSocket, an idle client goes on."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from select import select
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from geventwsgi.websocket.framing import CONTINUATION
from tests.support.process import Gwsgi
from tests.support.upgrading import children_of, upgraded
from tests.support.waiting import wait_until
from tests.support.websocket import TEXT, WebSocketClient, frame

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = "tests.support.apps.handed_over:application"
#: Pauses between two messages, in which a reload may come.
PAUSE = 0.005
#: Python takes a file that was changed within a second, to the same size, for the one that it has compiled.
FRESH = {"PYTHONDONTWRITEBYTECODE": "1"}
#: An application of which the next version lacks something.
LACKING = """
from geventwsgi.events import Channel, LongPoll
from geventwsgi.events.waiting import as_json

class Kept:
    def on_message(self, ws, message):
        ws.send(message)

def answer(messages, after):
    return as_json(messages, after)

def application(environ, start_response):
    news, path = Channel("news"), environ["PATH_INFO"]
    if path == "/ws":
        return environ["wsgi.websocket"].handle(Kept())
    if path == "/poll":
        return LongPoll(environ, news, after=environ["QUERY_STRING"], body=answer)(environ, start_response)
    news.publish(1)
    start_response("204 No Content", [])
    return []
"""


#: A configuration with which no worker is ready before a lock is free.
WAITING = """
import fcntl
def post_worker_init(worker):
    fcntl.flock(open({gate!r}), fcntl.LOCK_SH)
"""


class Client(HTTPConnection):
    """A client whose last response is closed with it."""

    response: Any = None

    def open(self, path: str) -> Any:
        """Return the response that has begun."""
        self.request("GET", path)
        self.response = self.getresponse()
        return self.response

    def ask(self, path: str) -> bytes:
        """Return a response's content."""
        return bytes(self.open(path).read())

    def close(self) -> None:
        super().close()
        if self.response is not None:
            self.response.close()


@contextmanager
def connected(server: Gwsgi, count: int = 1) -> Iterator[list[Client]]:
    clients = [Client(*server.address, timeout=20) for _ in range(count)]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


def ask(server: Gwsgi, path: str) -> bytes:
    with connected(server) as (client,):
        return client.ask(path)


def reload(server: Gwsgi) -> None:
    """Replace all workers, and wait until the former ones have ended."""
    before = set(server.worker_pids())
    server.signal(signal.SIGHUP)
    wait_until(lambda: len(server.worker_pids()) == len(before) and not before & set(server.worker_pids()), 20)


@contextmanager
def publishing(server: Gwsgi) -> Iterator[list[int]]:
    """Publish number after number while the block runs; the list has how many there were, at the end."""
    end, count = threading.Event(), [0]

    def publish() -> None:
        while not end.wait(PAUSE):
            ask(server, f"/publish?from={count[0]}&to={count[0] + 1}")
            count[0] += 1

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield count
    finally:
        end.set()
        thread.join()


def numbers(stream: Any, last: int) -> list[int]:
    """Return the numbers of an event stream, up to and including the last."""
    found: list[int] = []
    while not found or found[-1] < last:
        line = stream.readline()
        assert line, f"the stream ended after {found[-3:]}"
        assert b"missed" not in line
        found += [int(number) for number in re.findall(rb"^data: (\d+)", line)]
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[Gwsgi]:
    with Gwsgi("--workers", "2", "--wsgi-websocket", app=APP) as made:
        yield made


def test_streams_get_each_message_once_and_in_order(server: Gwsgi) -> None:
    with connected(server, 20) as clients:
        streams = [client.open("/events") for client in clients]
        with publishing(server) as count:
            for _ in range(2):
                reload(server)
        received = [numbers(stream, count[0] - 1) for stream in streams]
        assert [each == list(range(each[0], count[0])) for each in received] == [True] * 20


def test_a_long_poll_is_answered_by_the_new_worker(server: Gwsgi) -> None:
    with connected(server) as (client,):
        after = json.loads(client.ask("/poll"))["after"]
        poll = client.open(f"/poll?after={after}")
        reload(server)
        ask(server, "/publish?from=0&to=1")
        assert json.loads(poll.read())["messages"] == [0]
        assert int(client.ask("/pid")) in server.worker_pids()


def test_a_websocket_goes_on_with_its_state(server: Gwsgi) -> None:
    with WebSocketClient(server.address, "/ws") as client:
        client.send("one")
        assert str(client.receive()).startswith("1 in ")
        reload(server)
        client.send("two")
        count, pid = str(client.receive()).split(" in ")
        assert (count, int(pid) in server.worker_pids()) == ("2", True)
        ask(server, "/publish?from=7&to=8")
        assert client.receive() == "7"


def test_a_websocket_whose_handler_works_goes_on_after_its_answer(server: Gwsgi) -> None:
    with WebSocketClient(server.address, "/ws") as client:
        client.send("one")
        former = str(client.receive()).split(" in ")[1]
        client.send("slow")
        reload(server)
        assert client.receive() == f"2 in {former}"
        client.send("three")
        count, pid = str(client.receive()).split(" in ")
        assert (count, int(pid) in server.worker_pids()) == ("3", True)


def test_messages_that_wait_for_a_handler_go_on_with_their_websocket(server: Gwsgi) -> None:
    with WebSocketClient(server.address, "/ws") as client:
        for _ in range(4):
            client.send("slow")
        reload(server)
        counts, pids = zip(*(str(client.receive()).split(" in ") for _ in range(4)), strict=True)
        assert counts == ("1", "2", "3", "4")
        assert [int(pid) in server.worker_pids() for pid in (pids[0], pids[3])] == [False, True]


def test_the_first_byte_of_a_frame_goes_on_with_its_websocket(server: Gwsgi) -> None:
    with WebSocketClient(server.address, "/ws") as client:
        client.send("one")
        assert str(client.receive()).startswith("1 in ")
        data = frame(TEXT, b"two")
        client.sock.sendall(data[:1])
        reload(server)
        client.sock.sendall(data[1:])
        count, pid = str(client.receive()).split(" in ")
        assert (count, int(pid) in server.worker_pids()) == ("2", True)


HALVES = frame(TEXT, "é".encode(), fin=False) + frame(CONTINUATION, b"twice")
LONG = frame(TEXT, bytes(100_000))
NO_CONTEXT = ("Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover",)
CONTEXT = ("Sec-WebSocket-Extensions: permessage-deflate",)


def compressed(text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return frame(TEXT, compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)[:-4], rsv=4)


@contextmanager
def sending(
    server: Gwsgi, begun: bytes, fields: tuple[str, ...] = (), path: str = "/ws"
) -> Iterator[tuple[WebSocketClient, int]]:
    """A client that has had one answer, and has sent the beginning of its second message; and its worker."""
    with WebSocketClient(server.address, path, fields=fields) as client:
        client.sock.sendall(frame(TEXT, b"one"))
        former = int(str(client.receive()).split(" in ")[1])
        client.sock.sendall(begun)
        yield client, former


def begin_to_reload(server: Gwsgi, workers: int = 2) -> None:
    """Have new workers begin, once those of the last reload have ended."""
    wait_until(lambda: len(server.worker_pids()) == workers, 20)
    former = set(server.worker_pids())
    server.signal(signal.SIGHUP)
    wait_until(lambda: len(set(server.worker_pids()) - former) == workers, 20)


@pytest.mark.parametrize("begun", [HALVES[:7], HALVES[:8], HALVES[:-1]], ids=["byte", "fragment", "frame"])
def test_a_message_that_has_come_in_part_goes_on_with_its_websocket(server: Gwsgi, begun: bytes) -> None:
    with sending(server, begun) as (client, _):
        reload(server)
        client.sock.sendall(HALVES[len(begun) :])
        count, pid = str(client.receive()).split(" in ")
        assert (count, int(pid) in server.worker_pids()) == ("2", True)


@pytest.mark.parametrize(("data", "fields"), [(LONG, ()), (compressed(b"two"), NO_CONTEXT)], ids=["long", "compressed"])
def test_the_rest_of_a_message_that_cannot_leave_is_waited_for(
    server: Gwsgi, data: bytes, fields: tuple[str, ...]
) -> None:
    with sending(server, data[:-1], fields) as (client, former):
        begin_to_reload(server)
        assert not threading.Event().wait(1)  # the client's pause
        client.sock.sendall(data[-1:])
        assert client.receive() == f"2 in {former}"
        client.sock.sendall(frame(TEXT, b"three"))
        count, pid = str(client.receive()).split(" in ")
        assert (count, int(pid) in server.worker_pids()) == ("3", True)


def test_a_client_that_compresses_goes_on(server: Gwsgi) -> None:
    with WebSocketClient(server.address, "/ws", deflate=True) as client:
        for count in range(1, 4):
            client.send("two" * 100)
            assert str(client.receive()).startswith(f"{count} in ")
        reload(server)
        client.send("two" * 100)
        count, pid = str(client.receive()).split(" in ")
        assert (count, int(pid) in server.worker_pids()) == ("4", True)


def test_the_last_message_of_a_websocket_that_cannot_leave_is_answered(server: Gwsgi) -> None:
    data = compressed(b"two")
    with sending(server, data[:-1], CONTEXT, "/opened") as (client, former):
        begin_to_reload(server)
        assert not threading.Event().wait(1)
        client.sock.sendall(data[-1:])
        assert client.receive() == f"2 in {former}"
        assert (client.receive(), client.close_code) == (None, 1012)


def test_a_message_that_never_ends_does_not_hold_a_reload_up(server: Gwsgi) -> None:
    with sending(server, LONG[:-1]) as (client, former):
        begun = time.monotonic()
        server.signal(signal.SIGHUP)
        assert (client.receive(), client.close_code) == (None, 1012)
        assert 4 < time.monotonic() - begun < 15
        wait_until(lambda: former not in server.worker_pids(), 20)


def test_a_stop_does_not_wait_for_the_rest_of_a_message() -> None:
    with Gwsgi("--wsgi-websocket", app=APP) as server, sending(server, LONG[:-1]) as (client, _):
        begin_to_reload(server, 1)
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        assert (client.receive(), client.close_code) == (None, 1012)
        assert time.monotonic() - begun < 3
        client.sock.close()
        assert server.wait() == 0


def test_a_connection_whose_long_poll_is_still_read_goes_on_after_it(tmp_path: Path) -> None:
    with Gwsgi(app=APP) as server, connected(server) as (client,), connected(server) as (other,):
        after = client.ask("/big").decode()
        (former,), sock = server.worker_pids(), client.sock
        client.request("GET", f"/big?after={after}")
        ask(server, "/publish?from=0&to=1")
        wait_until(lambda: select([sock], [], [], 0)[0], 20)
        with running(server, other, tmp_path / "begun"):
            server.signal(signal.SIGHUP)
        responses_of(other)  # once its worker drains
        response = client.getresponse()
        assert len(response.read().strip(b"\n")) == 20 << 20
        assert (int(client.ask("/pid")) == former, client.sock is sock) == (False, True)


def test_a_websocket_has_one_line_in_the_access_log() -> None:
    flags = ("--wsgi-websocket", "--access-logfile", "-", "--access-logformat", "%(r)s %(s)s %(B)s")
    with Gwsgi("--workers", "1", *flags, app=APP) as server:
        with WebSocketClient(server.address, "/ws") as client:
            client.send("one")
            size = len(str(client.receive())) + 2
            before = server.worker_pids()
            server.signal(signal.SIGHUP)
            wait_until(lambda: len(server.worker_pids()) == 1 and server.worker_pids() != before, 20)
            client.send("two")
            size += len(str(client.receive())) + 2
        wait_until(lambda: "GET /ws" in server.stdout_text(), 20)
        assert re.findall(r"GET /ws .*", server.stdout_text()) == [f"GET /ws HTTP/1.1 499 {size}"]


def test_a_handler_that_fails_ends_its_websocket_alone(server: Gwsgi) -> None:
    with WebSocketClient(server.address, "/ws") as failing, WebSocketClient(server.address, "/ws") as other:
        for count in range(1, 14):
            failing.send("on")
            assert str(failing.receive()).startswith(f"{count} in ")
        other.send("one")
        assert str(other.receive()).startswith("1 in ")
        reload(server)
        assert failing.receive() is None
        assert failing.close_code == 1012
        other.send("two")
        assert str(other.receive()).startswith("2 in ")
    assert "ValueError: 13 brings bad luck" in server.log_text()


def test_a_state_that_is_too_large_ends_its_websocket_alone(server: Gwsgi) -> None:
    with WebSocketClient(server.address, "/ws") as large, WebSocketClient(server.address, "/ws") as other:
        for _ in range(12):
            large.send("on")
            large.receive()
        other.send("one")
        other.receive()
        reload(server)
        assert (large.receive(), large.close_code) == (None, 1012)
        other.send("two")
        assert str(other.receive()).startswith("2 in ")


@pytest.mark.parametrize(("count", "code"), [(11, 1012), (10, 1000)], ids=["exits", "closes"])
def test_a_handler_that_exits_or_closes_at_its_handover_ends_its_websocket_alone(
    server: Gwsgi, count: int, code: int
) -> None:
    with WebSocketClient(server.address, "/ws") as client, WebSocketClient(server.address, "/ws") as other:
        for _ in range(count):
            client.send("on")
            client.receive()
        other.send("one")
        other.receive()
        reload(server)
        assert (client.receive(), client.close_code) == (None, code)
        other.send("two")
        assert str(other.receive()).startswith("2 in ")


def test_three_workers_keep_everybody_over_two_reloads() -> None:
    """Each client moves once at a reload, to a new worker, also if it has been sent nothing there."""
    flags = ("--access-logfile", "-", "--access-logformat", "%(r)s %(s)s", "--wsgi-websocket", "--log-level", "debug")
    with Gwsgi("--workers", "3", *flags, app=APP) as server, ExitStack() as stack:
        silent = [stack.enter_context(WebSocketClient(server.address, "/ws")) for _ in range(12)]
        streams = [client.open("/events") for client in stack.enter_context(connected(server, 60))]
        for _ in range(2):
            reload(server)
        with publishing(server) as count:
            reload(server)
        assert [client.receive() for client in silent] == ["0"] * 12
        assert [numbers(stream, count[0] - 1) for stream in streams] == [list(range(count[0]))] * 60
        assert "GET /events" not in server.stdout_text()
        assert "GET /ws" not in server.stdout_text()


def test_an_idle_connection_is_served_by_a_new_worker(server: Gwsgi) -> None:
    with connected(server, 10) as clients:
        for client in clients:
            client.ask("/pid")
        sockets = [client.sock for client in clients]
        reload(server)
        assert {int(client.ask("/pid")) for client in clients} <= set(server.worker_pids())
        assert [client.sock for client in clients] == sockets  # none has connected again


@contextmanager
def running(server: Gwsgi, client: Client, begun: Path, more: str = "", path: str = "/drain") -> Iterator[None]:
    """Have a request run that ends when its worker drains, or what ``path`` asks for; ``more`` is sent with it."""
    client.connect()
    sign = "&" if "?" in path else "?"
    client.sock.sendall(f"GET {path}{sign}begun={begun} HTTP/1.1\r\nHost: a\r\n\r\n{more}".encode())
    wait_until(begun.exists, 20, server.log_text)
    yield


def responses_of(client: Client, count: int = 1) -> list[tuple[bool, int]]:
    """Return of each response whether it closes the connection, and which worker has answered."""
    received = b""
    while received.count(b"\r\n\r\n") < count or received.endswith(b"\n"):
        piece = client.sock.recv(1024)
        assert piece, received
        received += piece
    return [(b"close" in each, int(each.partition(b"\r\n\r\n")[2])) for each in received.split(b"HTTP/1.1 200")[1:]]


def test_a_connection_whose_request_runs_goes_on_after_its_response(server: Gwsgi, tmp_path: Path) -> None:
    with connected(server) as (client,):
        former = server.worker_pids()
        with running(server, client, tmp_path / "begun"):
            reload(server)
        ((closes, pid),) = responses_of(client)
        assert (closes, pid in former) == (False, True)
        sock = client.sock
        assert int(client.ask("/pid")) in server.worker_pids()
        assert client.sock is sock


def test_a_request_that_has_come_behind_the_one_that_runs_is_answered_by_the_new_worker(
    server: Gwsgi, tmp_path: Path
) -> None:
    former = server.worker_pids()
    with connected(server) as (client,):
        with running(server, client, tmp_path / "begun", "GET /pid HTTP/1.1\r\nHost: a\r\n\r\n"):
            reload(server)
        first, second = responses_of(client, 2)
        assert (first[0], second[0]) == (False, False)
        assert (first[1] in former, second[1] in server.worker_pids()) == (True, True)


def test_a_connection_is_trusted_as_the_new_configuration_says(tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    config.write_text("forwarded_allow_ips = '127.0.0.1'")
    with Gwsgi("--config", str(config), "--workers", "2", app=APP) as server, connected(server) as (client,):
        client.request("GET", "/scheme", headers={"X-Forwarded-Proto": "https"})
        assert client.getresponse().read() == b"https"
        sock = client.sock
        for allowed, scheme in (("10.0.0.1", b"http"), ("127.0.0.1", b"https")):
            config.write_text(f"forwarded_allow_ips = {allowed!r}")
            reload(server)
            client.request("GET", "/scheme", headers={"X-Forwarded-Proto": "https"})
            assert client.getresponse().read() == scheme
        assert client.sock is sock


@pytest.mark.parametrize("sent", [b"GET /pid HT", b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab"])
def test_a_request_that_comes_in_part_may_pause_over_a_reload(server: Gwsgi, sent: bytes) -> None:
    rest = b"TP/1.1\r\nHost: a\r\n\r\n" if sent.startswith(b"GET") else b"cd"
    with connected(server) as (client,):
        former = set(server.worker_pids())
        client.connect()
        client.sock.sendall(sent)
        server.signal(signal.SIGHUP)
        wait_until(lambda: len(set(server.worker_pids()) - former) == len(former), 20)
        assert not threading.Event().wait(1.5)  # the client's pause: longer than a stop would wait
        client.sock.sendall(rest)
        ((closes, pid),) = responses_of(client)
        assert (closes, pid in former) == (False, True)
        assert int(client.ask("/pid")) not in former
    wait_until(lambda: not former & set(server.worker_pids()), 20)


def test_a_request_that_runs_at_a_stop_is_the_last_of_its_connection(tmp_path: Path) -> None:
    with Gwsgi("--workers", "2", app=APP) as server, connected(server) as (client,):
        with running(server, client, tmp_path / "begun"):
            server.signal(signal.SIGTERM)
        assert responses_of(client)[0][0]
        assert server.wait() == 0


def test_without_handover_a_request_that_runs_is_the_last_of_its_connection(tmp_path: Path) -> None:
    with Gwsgi("--no-handover", app=APP) as server, connected(server) as (client,):
        with running(server, client, tmp_path / "begun"):
            reload(server)
        assert responses_of(client)[0][0]


def test_a_connection_whose_new_worker_dies_comes_back_to_the_one_that_ends(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with Gwsgi(app=APP) as server, connected(server) as (client,):
        with running(server, client, tmp_path / "begun", path=f"/gate?gate={gate}"):
            server.signal(signal.SIGHUP)
            server.wait_ready(2)
            former, new = server.ready_pids()
        wait_until(lambda: all(int(ask(server, "/pid")) == new for _ in range(9)), 20)  # the former accepts no more
        server.signal(signal.SIGSTOP, new)
        gate.touch()
        assert responses_of(client) == [(False, former)]
        server.signal(signal.SIGKILL, new)
        wait_until(lambda: new not in server.group_pids(), 20)
        sock = client.sock
        assert int(client.ask("/pid")) == former
        assert client.sock in (sock, None)


def test_busy_connections_lose_no_request_over_reloads(server: Gwsgi) -> None:
    """Clients that send one request after the other keep their connections, whatever runs when a worker is told."""
    end = threading.Event()

    def ask_on(client: Client, path: str) -> int:
        client.connect()
        sock, count = client.sock, 0
        while not end.is_set():
            assert client.ask(path)
            assert client.sock is sock, f"the connection was closed after {count} requests"
            count += 1
        return count

    with connected(server, 16) as clients, ThreadPoolExecutor(16) as pool:
        asking = [pool.submit(ask_on, client, ("/pid", "/slow")[index % 2]) for index, client in enumerate(clients)]
        try:
            for _ in range(4):
                reload(server)
        finally:
            end.set()
        assert min(each.result() for each in asking) > 4


def test_a_stop_ends_everything() -> None:
    with Gwsgi("--workers", "2", app=APP) as server, connected(server) as (client,):
        stream = client.open("/events")
        server.signal(signal.SIGTERM)
        assert stream.read().endswith(b"\n\n")
        assert server.wait() == 0


def test_a_stop_lets_a_handlers_method_end() -> None:
    with Gwsgi("--wsgi-websocket", app=APP) as server, WebSocketClient(server.address, "/ws") as client:
        client.send("one")
        client.receive()
        client.send("slow")
        server.signal(signal.SIGTERM)
        assert str(client.receive()).startswith("2 in ")
        assert (client.receive(), client.close_code) == (None, 1012)
        assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_handlers_method_at_once(number: signal.Signals) -> None:
    with Gwsgi("--wsgi-websocket", app=APP) as server, WebSocketClient(server.address, "/ws") as client:
        client.send("one")
        client.receive()
        client.send("endless")
        server.signal(signal.SIGTERM)
        server.wait_log("requests in flight have 30 s")
        assert server.stop(number, timeout=10) == 0
        with suppress(ConnectionResetError):
            assert client.receive() is None
        assert client.close_code == 1012


def test_the_access_log_has_one_line_for_the_whole_stream() -> None:
    flags = ("--access-logfile", "-", "--access-logformat", "%(r)s %(s)s %(B)s")
    with Gwsgi("--workers", "1", *flags, app=APP) as server, connected(server) as (client,):
        stream, before = client.open("/events"), server.worker_pids()
        server.signal(signal.SIGHUP)
        wait_until(lambda: len(server.worker_pids()) == 1 and server.worker_pids() != before, 20)
        server.signal(signal.SIGTERM)
        size = len(stream.read())
        assert server.wait() == 0
        assert re.findall(r"GET /events .*", server.stdout_text()) == [f"GET /events HTTP/1.1 200 {size}"]


@pytest.mark.parametrize("gone", ["Kept", "answer"])
def test_what_the_changed_application_lacks_is_told_to_come_back(tmp_path: Path, gone: str) -> None:
    app = tmp_path / "changed_app.py"
    app.write_text(LACKING)
    with (
        Gwsgi("--wsgi-websocket", app="changed_app:application", cwd=tmp_path, env=FRESH) as server,
        connected(server) as (poll,),
    ):
        after = json.loads(poll.ask("/poll"))["after"]
        answer = poll.open(f"/poll?{after}")
        with WebSocketClient(server.address, "/ws") as client:
            client.send("one")
            assert client.receive() == "one"
            app.write_text(LACKING.replace(gone, "Another"))
            reload(server)
            if gone == "Kept":
                assert (client.receive(), client.close_code) == (None, 1012)
                ask(server, "/publish")
            else:
                client.send("two")
                assert client.receive() == "two"
            assert json.loads(answer.read())["messages"] == ([] if gone == "answer" else [1])
        assert "the application here cannot go on with it" in server.log_text()


# USR2


@pytest.fixture
def pidfile(tmp_path: Path) -> Path:
    return tmp_path / "pid"


@contextmanager
def to_be_upgraded(pidfile: Path, **options: Any) -> Iterator[Gwsgi]:
    with Gwsgi("--workers", "2", "--wsgi-websocket", "--pid", str(pidfile), app=APP, **options) as server:
        yield server


def test_streams_get_each_message_once_through_an_upgrade(pidfile: Path) -> None:
    with to_be_upgraded(pidfile) as server, connected(server, 20) as clients:
        streams = [client.open("/events") for client in clients]
        with upgraded(server, pidfile):
            with publishing(server) as count:
                wait_until(lambda: count[0] > 20)  # which workers of both masters have published
                server.signal(signal.SIGTERM)
                assert server.wait() == 0
                reached = count[0]
                wait_until(lambda: count[0] > reached + 20)
            assert [numbers(stream, count[0] - 1) for stream in streams] == [list(range(count[0]))] * 20


def test_a_long_poll_is_answered_by_a_worker_of_the_new_master(pidfile: Path) -> None:
    with to_be_upgraded(pidfile) as server, connected(server) as (client,):
        after = json.loads(client.ask("/poll"))["after"]
        poll = client.open(f"/poll?after={after}")
        with upgraded(server, pidfile) as new:
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            ask(server, "/publish?from=0&to=1")
            assert json.loads(poll.read())["messages"] == [0]
            assert int(client.ask("/pid")) in children_of(server, new)


def test_a_websocket_goes_on_with_its_state_under_the_new_master(pidfile: Path) -> None:
    with to_be_upgraded(pidfile) as server, WebSocketClient(server.address, "/ws") as client:
        client.send("one")
        assert str(client.receive()).startswith("1 in ")
        with upgraded(server, pidfile) as new:
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            client.send("two")
            count, pid = str(client.receive()).split(" in ")
            assert (count, int(pid) in children_of(server, new)) == ("2", True)
            ask(server, "/publish?from=7&to=8")
            assert client.receive() == "7"


def test_a_connection_whose_request_runs_goes_on_under_the_new_master(pidfile: Path, tmp_path: Path) -> None:
    with (
        to_be_upgraded(pidfile) as server,
        connected(server) as (client,),
        running(server, client, tmp_path / "begun"),
        upgraded(server, pidfile) as new,
    ):
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert not responses_of(client)[0][0]
        assert int(client.ask("/pid")) in children_of(server, new)


def test_idle_connections_are_spread_over_the_workers_of_the_new_master(pidfile: Path) -> None:
    with to_be_upgraded(pidfile) as server, connected(server, 20) as clients:
        for client in clients:
            client.ask("/pid")
        sockets = [client.sock for client in clients]
        with upgraded(server, pidfile) as new:
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            served = [int(client.ask("/pid")) for client in clients]
            assert [client.sock for client in clients] == sockets
            assert sorted(map(served.count, children_of(server, new))) == [10, 10]


def test_a_position_of_the_former_master_is_valid_with_the_new_one(pidfile: Path) -> None:
    with to_be_upgraded(pidfile) as server:
        after = json.loads(ask(server, "/poll"))["after"]
        ask(server, "/publish?from=0&to=3")
        with upgraded(server, pidfile):
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            assert json.loads(ask(server, f"/poll?after={after}"))["messages"] == [0, 1, 2]


def test_the_old_workers_hand_over_at_winch(pidfile: Path) -> None:
    with to_be_upgraded(pidfile) as server, connected(server, 4) as clients:
        streams = [client.open("/events") for client in clients]
        with upgraded(server, pidfile) as new:
            server.signal(signal.SIGWINCH)
            wait_until(lambda: children_of(server, server.pid) == {new}, 20)
            ask(server, "/publish?from=0&to=1")
            assert [numbers(stream, 0) for stream in streams] == [[0]] * 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_what_the_new_master_holds_returns_to_the_old_one(pidfile: Path, number: signal.Signals) -> None:
    with to_be_upgraded(pidfile) as server, upgraded(server, pidfile) as new:
        server.signal(signal.SIGWINCH)
        wait_until(lambda: children_of(server, server.pid) == {new}, 20)
        with connected(server, 4) as clients:
            streams = [client.open("/events") for client in clients]
            workers = children_of(server, new)
            server.signal(signal.SIGHUP)  # the old master has workers again
            server.wait_ready(6)
            server.signal(number, new)
            wait_until(lambda: not {new, *workers} & set(server.group_pids()), 20)
            ask(server, "/publish?from=0&to=1")
            assert [numbers(stream, 0) for stream in streams] == [[0]] * 4


def test_nothing_is_handed_over_before_the_new_workers_are_ready(pidfile: Path, tmp_path: Path) -> None:
    gate = (tmp_path / "gate").open("w")
    fcntl.flock(gate, fcntl.LOCK_EX)
    with gate, to_be_upgraded(pidfile, config="") as server, connected(server) as (client,):
        stream = client.open("/events")
        server.config_file.write_text(WAITING.format(gate=gate.name))
        server.signal(signal.SIGUSR2)
        second = tmp_path / "pid.2"
        wait_until(second.exists, 20, server.log_text)
        new = int(second.read_text())
        wait_until(lambda: len(children_of(server, new)) == 2, 20, server.log_text)
        server.signal(signal.SIGTERM)
        assert stream.read().endswith(b"\n\n")
        assert server.wait() == 0
        gate.close()
        wait_until(lambda: len(server.ready_pids()) == 4, 20, server.log_text)
        os.kill(new, signal.SIGTERM)
        wait_until(lambda: not server.group_pids(), 20, server.log_text)


def test_the_last_of_two_masters_removes_the_directory_of_their_workers(pidfile: Path) -> None:
    with (
        TemporaryDirectory(dir="/tmp") as name,  # a socket's path has some hundred bytes
        to_be_upgraded(pidfile, env={"TMPDIR": name}) as server,
    ):
        place = Path(name)
        with upgraded(server, pidfile):
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            assert len(list(place.iterdir())) == 1
        assert list(place.iterdir()) == []
