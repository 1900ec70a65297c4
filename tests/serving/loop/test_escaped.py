"""An exception that leaves a greenlet of any kind costs nobody else an event, a deadline or a turn."""

from __future__ import annotations

import socket as plain_socket
import struct
import time
from contextlib import ExitStack, contextmanager, suppress
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import get_hub

from geventwsgi.serving.loop.deadlines import NEVER, Deadlines, Holder
from geventwsgi.serving.loop.rounds import Round
from geventwsgi.serving.loop.runners import Runners
from geventwsgi.serving.wire.outbox import Outbox, outbox_of
from geventwsgi.serving.wire.poller import EpollPoller, WatcherPoller
from geventwsgi.serving.wire.stream import DeadlineExpired, Stream
from tests.support.certificates import certificates
from tests.support.eventually import eventually
from tests.support.servers import read_to, running
from tests.support.streams import Job, Woken, common, raw, tcp_pair, tls_client_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gevent import socket

READABLE, WRITABLE = 0x1, 0x4


class OfTheApplication(BaseException):
    """Neither an Exception nor one that gevent knows."""


#: What gevent reports with a traceback, what it lets pass, and what it raises in the main greenlet.
KINDS = [ValueError, OfTheApplication, gevent.GreenletExit, KeyboardInterrupt, SystemExit]
#: Of these a greenlet ends in silence, as by a kill.
SILENT = (gevent.GreenletExit,)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=["reported", "the report fails"])
def reported(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What gevent was given to report; it does so, or an application's own hub raises instead."""
    seen: list[Any] = []
    hub = get_hub()
    plain = hub.handle_error

    def handle_error(context: Any, type: Any, value: Any, tb: Any) -> None:  # noqa: A002 - gevent's names
        seen.append(type)
        plain(context, type, value, tb)
        if request.param != "reported":
            raise RuntimeError("of the application's own report")

    monkeypatch.setattr(hub, "handle_error", handle_error, raising=False)
    monkeypatch.setattr(hub, "print_exception", lambda *_: None, raising=False)
    return seen


def eventually_for_all(condition: Callable[[], object]) -> None:
    """Wait for ``condition``, and for all that gevent raises meanwhile in the main greenlet: this one."""
    until, rounds = time.monotonic() + 5, 0
    while rounds < 10:
        rounds = rounds + 1 if condition() else 0
        assert time.monotonic() < until, "not within 5 s"
        with suppress(KeyboardInterrupt, SystemExit):
            gevent.sleep(0.002)


@contextmanager
def streams(make_poller: Any, count: int) -> Iterator[tuple[list[Stream], list[socket.socket], Deadlines]]:
    """Yield streams of one poller and one clock, and their clients."""
    with ExitStack() as stack:
        loop = get_hub().loop
        poller = make_poller(loop)
        stack.callback(poller.close)
        deadlines = Deadlines(loop)
        made, clients = [], []
        for _ in range(count):
            accepted, client = tcp_pair()
            stream = Stream(raw(accepted), common(poller, deadlines, Outbox()))
            stack.callback(stream.close)
            stack.callback(client.close)
            stream.watch()
            made.append(stream)
            clients.append(client)
        gevent.sleep(0.01)
        yield made, clients, deadlines


def test_every_event_of_a_batch_is_told_and_every_later_one(make_poller: Any, kind: Any, reported: list[Any]) -> None:
    def fails(stream: Stream) -> None:
        stream.recv(10)
        raise kind

    def reads(stream: Stream) -> None:
        got.append(stream.recv(10))
        got.append(stream.recv(10))

    got: list[bytes] = []
    woken = [Woken() for _ in range(3)]
    with streams(make_poller, 12) as (made, clients, _):
        for index, stream in enumerate(made):
            if index % 4 == 0:
                gevent.spawn_raw(fails, stream)
            elif index % 4 == 3:
                stream.hot = False
                stream.park(woken[index // 4], 60)
            else:
                gevent.spawn_raw(reads, stream)
        gevent.sleep(0.01)
        for client in clients:
            client.sendall(b"x")
        eventually_for_all(lambda: len(got) == 6)
        assert [one.times for one in woken] == [[False]] * 3
        for client in clients:
            client.sendall(b"y")
        eventually_for_all(lambda: got.count(b"y") == 6)
    assert reported == ([] if kind in SILENT else [kind] * 3)


@pytest.fixture(params=[EpollPoller, WatcherPoller])
def make_poller(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_who_reads_is_told_although_who_writes_to_the_same_client_raises(reported: list[Any]) -> None:
    """Both learn of it by one event, of which nobody tells twice."""

    def writes(stream: Stream) -> None:
        while stream._sock.send(bytes(65536)):
            pass
        stream._wait_writable()
        raise ValueError

    got: list[bytes] = []
    with streams(EpollPoller, 1) as ((stream,), (client,), _):
        gevent.spawn_raw(lambda: got.append(stream.recv(10)))
        gevent.spawn_raw(writes, stream)
        gevent.sleep(0.05)
        client.setblocking(False)
        with suppress(BlockingIOError):
            while client.recv(1 << 20):
                pass
        client.send(b"x")
        eventually(lambda: got == [b"x"])
    assert reported == [ValueError]


@pytest.mark.usefixtures("reported")
def test_every_deadline_of_a_moment_is_told(kind: Any) -> None:
    class Failing(Holder):
        def __init__(self, fails: bool) -> None:
            self.deadline, self.tick = NEVER, 0
            self.fails = fails
            self.expired = 0

        def expire(self) -> None:
            self.expired += 1
            if self.fails:
                raise kind

    gevent.sleep(0)
    deadlines = Deadlines(get_hub().loop)
    holders = [Failing(index % 2 == 0) for index in range(20)]
    later = Failing(False)
    for holder in (*holders, later):
        deadlines.arm(holder, 0.05)
    deadlines.arm(later, 0.3)
    eventually_for_all(lambda: later.expired == 1)
    assert [holder.expired for holder in holders] == [1] * 20


def test_readers_whose_time_is_over_are_told_although_others_raise(kind: Any, reported: list[Any]) -> None:
    def fails(stream: Stream) -> None:
        try:
            stream.recv(10, 0.1)
        except DeadlineExpired:
            raise kind from None

    def waits(stream: Stream) -> None:
        with suppress(DeadlineExpired):
            stream.recv(10, 0.1)
        ended.append(stream)

    ended: list[Stream] = []
    with streams(EpollPoller, 10) as (made, _, _):
        for index, stream in enumerate(made):
            gevent.spawn_raw(waits if index % 2 else fails, stream)
        eventually_for_all(lambda: len(ended) == 5)
    assert reported == ([] if kind in SILENT else [kind] * 5)


def test_what_is_ready_is_served_although_a_runner_fails(kind: Any, reported: list[Any]) -> None:
    def fails() -> None:
        raise kind

    runners, done = Runners(), []
    for _ in range(3):
        runners.give(Job(fails))
        runners.give(Job(lambda: done.append(1)))
    eventually_for_all(lambda: len(done) == 3)
    assert [one for one in reported if one is kind] == ([] if kind in SILENT else [kind] * 3)


@pytest.mark.usefixtures("reported")
def test_what_waits_for_the_turns_end_leaves_although_one_cannot_be_sent(kind: Any) -> None:
    class Failing(Stream):
        def hand_over(self) -> None:
            raise kind

    class Noting(Stream):
        def hand_over(self) -> None:
            sent.append(self)

    def turn() -> None:
        outbox.begin()
        for one in (noting, failing, noting, failing, noting):
            outbox.keep(one)
        outbox.end()

    sent: list[Stream] = []
    outbox = Outbox()
    with ExitStack() as stack:
        made = []
        for make in (Failing, Noting):
            accepted, client = tcp_pair()
            stack.callback(client.close)
            stream = make(raw(accepted), common(WatcherPoller(get_hub().loop), Deadlines(get_hub().loop), outbox))
            stack.callback(stream.close)
            made.append(stream)
        failing, noting = made
        get_hub().loop.run_callback(turn)
        eventually_for_all(lambda: len(sent) == 3)


def test_the_clients_of_a_turn_are_watched_although_one_cannot_be(reported: list[Any]) -> None:
    class Refusing(EpollPoller):
        refused = 0

        def watch(self, stream: Stream, fd: int, events: int) -> None:
            if not self.refused:
                self.refused = 1
                raise OSError(28, "No space left on device")
            super().watch(stream, fd, events)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        left = environ["geventwsgi.client"].gone
        begun.append(left)
        left.wait(5)
        start_response("200 OK", [])
        return [b""]

    begun: list[Any] = []
    with running(app) as server:
        service = server.server._WSGIServer__service
        service.common.poller = Refusing(get_hub().loop)
        clients = [plain_socket.create_connection(server.server.address) for _ in range(5)]  # while the loop waits
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: len(begun) == 5)
        for client in clients:
            client.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        eventually(lambda: sum(left.is_set() for left in begun) == 4, 3)
        service.common.poller.close()
    assert reported == [OSError]


@pytest.mark.usefixtures("reported")
@pytest.mark.parametrize("transport", ["tcp", "tls", "unix"])
def test_everybody_is_answered_although_an_application_leaves_greenlets_that_raise(
    transport: str, kind: Any, tmp_path: Path
) -> None:
    """Half of the clients take their connection over, and the application reads there in raw greenlets."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        if "HTTP_UPGRADE" not in environ:
            body = environ["wsgi.input"].read(4)
            start_response("200 OK", [("Content-Length", "4")])
            return [body]
        client = environ["geventwsgi.socket"]

        def fails() -> None:
            client.recv(10)
            raise kind

        gevent.spawn_raw(fails)
        gevent.sleep(0)
        client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        gevent.sleep(1)
        return []

    with serving(app, transport, tmp_path) as connect:
        clients = []
        for index in range(12):
            fields = b"Upgrade: x\r\nConnection: upgrade\r\n" if index % 2 else b"Content-Length: 4\r\n"
            clients.append(connect(b"POST / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n"))
        for client in clients[1::2]:
            read_to(client, b"\r\n\r\n")
        for client in clients[::-1]:
            client.sendall(b"body")
        answers: list[bytes] = []
        for client in clients[::2]:
            gevent.spawn(lambda client: answers.append(read_to(client, b"body")), client)
        eventually_for_all(lambda: len(answers) == 6)


@contextmanager
def serving(app: Any, transport: str, directory: Path) -> Iterator[Callable[[bytes], Any]]:
    """Serve over "tcp", "tls" or "unix"; yield what returns a client that has sent some bytes."""
    settings: dict[str, Any] = {}
    made = certificates()
    with ExitStack() as stack:
        if transport == "tls":
            settings = {"certfile": made.certfile, "keyfile": made.keyfile}
        elif transport == "unix":
            settings["listener"] = listener = stack.enter_context(plain_socket.socket(plain_socket.AF_UNIX))
            listener.bind(str(directory / "s"))
            listener.listen(100)
        server = stack.enter_context(running(app, **settings))

        def connect(data: bytes) -> Any:
            client = server.connect()
            if transport == "tls":
                client = tls_client_context().wrap_socket(client, server_hostname="localhost")
                stack.callback(client.close)
            client.sendall(data)
            return client

        yield connect


def test_connections_are_accepted_although_the_log_fails(reported: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """gevent stops a watcher whose callback raises, and with it a server."""

    def app(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"ok"]

    def fails(*_: Any) -> None:
        raise ValueError("of the application's log")

    with running(app, limit_connections_per_address=1) as server:
        monkeypatch.setattr(server.server._WSGIServer__logger, "debug", fails, raising=False)
        first = server.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert first.recv(65536).endswith(b"ok")
        second = server.connect(b"x")
        with suppress(ConnectionResetError):
            assert second.recv(1) == b""
        first.close()
        eventually(lambda: not server.server.connections)
        third = server.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert third.recv(65536).endswith(b"ok")
    assert ValueError in reported


@pytest.mark.usefixtures("reported")
def test_everybody_who_sleeps_wakes_although_one_raises(kind: Any) -> None:
    alarm = pytest.importorskip("geventwsgi.serving.loop._alarm", reason="the compiled core is not built")
    sleep = alarm.AlarmClock(get_hub(), Round()).sleep
    woken: list[float] = []

    def one(seconds: float, fails: bool) -> None:
        sleep(seconds)
        woken.append(seconds)
        if fails:
            raise kind

    for index in range(10):
        gevent.spawn_raw(one, 0.02 + (index // 5) / 50, index % 2 == 0)
    eventually_for_all(lambda: len(woken) == 10)


def test_sleepers_wake_although_a_response_of_their_turn_cannot_be_sent(reported: list[Any]) -> None:
    alarm = pytest.importorskip("geventwsgi.serving.loop._alarm", reason="the compiled core is not built")

    class Failing(Stream):
        def hand_over(self) -> None:
            raise ValueError

    woken: list[int] = []
    hub = get_hub()
    outbox = outbox_of(hub)
    sleep = alarm.AlarmClock(hub, outbox).sleep
    accepted, client = tcp_pair()
    failing = Failing(raw(accepted), common(WatcherPoller(hub.loop), Deadlines(hub.loop), outbox))

    def one(number: int) -> None:
        sleep(0.02 * number)
        if number == 1:
            outbox.keep(failing)
        woken.append(number)

    for number in (1, 2):
        gevent.spawn_raw(one, number)
    eventually(lambda: woken == [1, 2])
    assert reported == [ValueError]
    failing.close()
    client.close()
