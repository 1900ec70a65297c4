"""The stream over real sockets: waiting, deadlines, departure, and every hazard of a watcher that stays started."""

from __future__ import annotations

import errno
import os
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import gevent
import greenlet
import pytest
from gevent import socket
from gevent.event import Event
from gevent.exceptions import ConcurrentObjectUseError

from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.loop.deadlines import Deadlines
from geventwsgi.serving.wire import rest
from geventwsgi.serving.wire.outbox import Outbox
from geventwsgi.serving.wire.poller import EpollPoller, WatcherPoller
from geventwsgi.serving.wire.sockets import Socket, borrowed
from geventwsgi.serving.wire.stream import DeadlineExpired, Stream
from tests.support.eventually import eventually
from tests.support.offering import Offering
from tests.support.streams import CALM, Settled, Woken, common, raw, stream_pair, turns_of_the_loop

if TYPE_CHECKING:
    from collections.abc import Iterator

BIG = 8 << 20
#: A size with which more is asked for than what was received ahead.
LARGE = 20000


@pytest.fixture(params=[EpollPoller, WatcherPoller])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Stream, socket.socket]]:
    with stream_pair(request.param) as both:
        yield both


@pytest.fixture
def stream(pair: tuple[Stream, socket.socket]) -> Stream:
    return pair[0]


@pytest.fixture
def client(pair: tuple[Stream, socket.socket]) -> socket.socket:
    return pair[1]


def read_all(client: socket.socket) -> bytes:
    data = b""
    while piece := client.recv(1 << 20):
        data += piece
    return data


class TestReading:
    def test_waits_for_bytes(self, stream: Stream, client: socket.socket) -> None:
        reader = gevent.spawn(stream.recv, 100)
        gevent.sleep(0)
        assert not reader.ready()
        client.sendall(b"hello")
        assert reader.get(timeout=5) == b"hello"

    def test_returns_what_is_there_up_to_the_size(self, stream: Stream, client: socket.socket) -> None:
        client.sendall(b"hello")
        assert stream.recv(2, 5) == b"he"
        assert stream.recv(100, 5) == b"llo"

    def test_many_rounds_over_one_watcher(self, stream: Stream, client: socket.socket) -> None:
        for number in range(200):
            message = b"%d" % number
            reader = gevent.spawn(stream.recv, 100, 5)
            if number % 2:
                gevent.sleep(0)
            client.sendall(message)
            assert reader.get(timeout=5) == message

    def test_end_of_stream(self, stream: Stream, client: socket.socket) -> None:
        client.shutdown(socket.SHUT_WR)
        assert stream.recv(100, 5) == b""

    def test_reset_is_a_disconnect(self, stream: Stream, client: socket.socket) -> None:
        reader = gevent.spawn(stream.recv, 100, 5)
        gevent.sleep(0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
        with pytest.raises(ClientDisconnected):
            reader.get(timeout=5)

    def test_handed_back_bytes_come_first(self, stream: Stream, client: socket.socket) -> None:
        client.sendall(b"wire")
        stream.unread(b"back")
        assert stream.ahead()
        assert stream.recv(3) == b"bac"
        stream.unread(b"c")
        assert stream.recv(100) == b"ck"
        assert not stream.ahead()
        assert stream.recv(100, 5) == b"wire"

    def test_a_large_read_is_one_piece_of_what_was_handed_back_and_what_has_come(
        self, stream: Stream, client: socket.socket
    ) -> None:
        client.sendall(b"w" * 30000)
        stream.unread(b"back")
        assert stream.recv(LARGE) == b"back" + b"w" * (LARGE - 4)
        assert not stream.ahead()
        assert stream.recv(LARGE, 5) == b"w" * (30004 - LARGE)
        stream.unread(b"b" * LARGE)
        assert stream.recv(LARGE) == b"b" * LARGE

    @pytest.mark.parametrize("ending", ["nothing", "end", "reset"])
    def test_a_large_read_takes_what_was_handed_back_if_that_is_all(
        self, stream: Stream, client: socket.socket, ending: str
    ) -> None:
        """What else there is, the next one finds."""
        if ending == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        if ending != "nothing":
            client.close()
        stream.unread(b"back")
        assert stream.recv(LARGE) == b"back"
        if ending == "nothing":
            with pytest.raises(DeadlineExpired):
                stream.recv(LARGE, 0.01)
        elif ending == "end":
            assert stream.recv(LARGE, 5) == b""
        else:
            with suppress(ClientDisconnected):  # the kernel says so once
                assert stream.recv(LARGE, 5) == b""

    def test_deadline(self, stream: Stream, client: socket.socket) -> None:
        with pytest.raises(DeadlineExpired):
            stream.recv(100, 0.01)
        client.sendall(b"late")
        assert stream.recv(100, 5) == b"late"

    def test_a_deadline_that_was_met_does_not_fire_later(self, stream: Stream, client: socket.socket) -> None:
        client.sendall(b"x")
        assert stream.recv(100, 0.2) == b"x"
        reader = gevent.spawn(stream.recv, 100)
        gevent.sleep(0.5)
        assert not reader.ready()
        client.sendall(b"y")
        assert reader.get(timeout=5) == b"y"

    def test_an_exception_thrown_into_a_wait_leaves_the_stream_whole(
        self, stream: Stream, client: socket.socket
    ) -> None:
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
            stream.recv(100)
        client.sendall(b"after")
        assert stream.recv(100, 5) == b"after"

    @pytest.mark.parametrize("there", [False, True], ids=["nothing", "bytes"])
    def test_a_second_reader_is_refused_and_the_first_goes_on(
        self, stream: Stream, client: socket.socket, *, there: bool
    ) -> None:
        first = gevent.spawn(stream.recv, 100)
        gevent.sleep(0)
        if there:
            client.sendall(b"one")
        with pytest.raises(ConcurrentObjectUseError, match="receive"):
            stream.recv(100)
        if not there:
            client.sendall(b"one")
        assert first.get(timeout=5) == b"one"

    def test_the_end_dismisses_who_reads(self, stream: Stream) -> None:
        reader = gevent.spawn(stream.recv, 100)
        gevent.sleep(0)
        stream.finish()
        assert isinstance(reader.exception, ClientDisconnected)

    def test_interrupt_ends_a_wait_but_loses_no_bytes(self, stream: Stream, client: socket.socket) -> None:
        reader = gevent.spawn(stream.recv, 100)
        gevent.sleep(0)
        stream.interrupt()
        assert reader.get(timeout=5) == b""
        client.sendall(b"still")
        gevent.sleep(0.05)
        assert stream.recv(100) == b"still"
        assert stream.recv(100) == b""


class TestPersistentWatcher:
    def test_never_switches_into_a_greenlet_that_waits_for_something_else(
        self, stream: Stream, client: socket.socket
    ) -> None:
        event, seen = Event(), []

        def serve() -> None:
            seen.append(stream.recv(100))
            seen.append(event.wait(5))
            seen.append(stream.recv(100))

        server = gevent.spawn(serve)
        client.sendall(b"one")
        gevent.sleep(0.05)
        client.sendall(b"two")
        gevent.sleep(0.05)
        assert seen == [b"one"]
        event.set()
        server.get(timeout=5)
        assert seen == [b"one", True, b"two"]

    @pytest.mark.parametrize("departure", [False, True], ids=["pipelined bytes", "end of stream"])
    def test_unwanted_events_do_not_spin_the_loop(
        self, stream: Stream, client: socket.socket, *, departure: bool
    ) -> None:
        client.sendall(b"request")
        assert stream.recv(100, 5) == b"request"
        if departure:
            client.close()
        else:
            client.sendall(b"pipelined")
        assert turns_of_the_loop(0.2) < CALM
        assert stream.gone is departure
        assert stream.recv(100, 5) == (b"" if departure else b"pipelined")

    def test_looking_takes_no_bytes_out(self, stream: Stream, client: socket.socket) -> None:
        client.sendall(b"abc")
        gevent.sleep(0.05)
        assert not stream.gone
        assert stream.recv(100, 5) == b"abc"

    def test_a_reset_while_nobody_reads_is_a_departure(self, stream: Stream, client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
        eventually(lambda: stream.gone)


class TestParking:
    def test_wakes_for_bytes_and_leaves_them_to_be_read(self, stream: Stream, client: socket.socket) -> None:
        woken = Woken()
        stream.park(woken, 30)
        assert stream.parked
        gevent.sleep(0.02)
        assert woken.times == []
        client.sendall(b"back")
        eventually(lambda: woken.times)
        assert woken.times == [False]
        assert not stream.parked
        assert stream.recv(100, 5) == b"back"

    def test_a_parked_connection_has_no_greenlet_and_one_wake(self, stream: Stream, client: socket.socket) -> None:
        woken = Woken()
        stream.park(woken, 30)
        client.sendall(b"back")
        assert turns_of_the_loop(0.2) < CALM
        assert woken.times == [False]

    def test_wakes_when_the_client_leaves(self, stream: Stream, client: socket.socket) -> None:
        woken = Woken()
        stream.park(woken, 30)
        client.close()
        eventually(lambda: woken.times)
        assert woken.times == [False]
        assert stream.recv(100, 5) == b""

    def test_wakes_when_its_time_is_over(self, stream: Stream) -> None:
        woken = Woken()
        stream.park(woken, 0.05)
        eventually(lambda: woken.times)
        assert woken.times == [True]

    def test_what_came_before_its_time_was_noticed_to_be_over_is_not_too_late(
        self, stream: Stream, client: socket.socket
    ) -> None:
        woken = Woken()
        stream.park(woken, 30)
        client.sendall(b"in time")
        stream.expire()  # as the deadlines do where the loop was late
        assert woken.times == [False]
        assert stream.recv(100, 5) == b"in time"

    def test_can_be_woken_by_hand(self, stream: Stream) -> None:
        woken = Woken()
        stream.park(woken, 30)
        stream.unpark()
        stream.unpark()
        assert woken.times == [False]


class TestWriting:
    def test_a_slow_reader_gets_everything_in_order(self, stream: Stream, client: socket.socket) -> None:
        data = os.urandom(1 << 16) * (BIG >> 16)
        writer = gevent.spawn(stream.send, data)
        gevent.sleep(0.02)
        assert not writer.ready()
        received = b""
        while len(received) < len(data):
            received += client.recv(1 << 20)
        writer.get(timeout=5)
        assert received == data

    @pytest.mark.parametrize("kind", ["send", "send_parts", "send_last", "send_file"])
    def test_a_second_writer_is_refused_and_the_first_goes_on(
        self, stream: Stream, client: socket.socket, kind: str
    ) -> None:
        first = gevent.spawn(stream.send, b"x" * BIG)
        gevent.sleep(0)
        arguments = {"send": (b"y",), "send_file": (0, 0, 1)}.get(kind, (b"y", b"z"))
        with pytest.raises(ConcurrentObjectUseError, match="send"):
            getattr(stream, kind)(*arguments)
        received = 0
        while received < BIG:
            data = client.recv(1 << 20)
            assert set(data) == set(b"x")
            received += len(data)
        first.get(timeout=5)

    def test_a_close_wakes_who_waits_for_the_client_to_read(self, stream: Stream) -> None:
        writer = gevent.spawn(stream.send, b"x" * BIG)
        gevent.sleep(0)
        stream.close()
        writer.join(5)
        assert isinstance(writer.exception, ClientDisconnected)

    def test_parts_arrive_joined(self, stream: Stream, client: socket.socket) -> None:
        parts = [b"head", b"x" * BIG, b"", b"tail"]
        writer = gevent.spawn(
            lambda: (stream.send_parts(b"a", b"b"), stream.send_parts(*parts), stream.close()),
        )
        assert read_all(client) == b"ab" + b"".join(parts)
        writer.get(timeout=5)

    @pytest.mark.skipif(not hasattr(socket, "MSG_MORE"), reason="no MSG_MORE here")
    def test_what_is_held_leaves_with_the_end(self, stream: Stream, client: socket.socket) -> None:
        """In one packet, even where the client has sent more than anybody will read."""
        client.sendall(b"and more")
        eventually(stream.readable)
        began = time.monotonic()
        stream.send_parts(b"he", b"llo", b"", b"", True)
        client.setblocking(False)
        received = b""
        try:
            received = client.recv(100)
            assert time.monotonic() - began > 0.1  # the kernel waits for 0.2 s
        except BlockingIOError:
            pass
        stream.close()
        client.settimeout(5)
        assert received or client.recv(100) == b"hello"

    def test_what_is_held_does_not_leave_with_a_reset(self, stream: Stream, client: socket.socket) -> None:
        stream.send_parts(b"he", b"llo", b"", b"", True)
        stream.abort()
        with pytest.raises(ConnectionResetError):
            client.recv(100)

    def test_the_end_of_what_is_held_may_come_too_late(self, stream: Stream, client: socket.socket) -> None:
        stream.send_parts(b"he", b"llo", b"", b"", True)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
        stream.close()
        assert stream.fileno() == -1

    def test_whoever_takes_less_than_makes_room_is_not_dropped(self, stream: Stream, client: socket.socket) -> None:
        stream._common.write_timeout = 0.8
        writer = gevent.spawn(stream.send, bytes(64 << 20))
        takes_little_and_then_nothing(stream, client, writer)

    def test_whoever_takes_less_than_the_least_rate_is_dropped(self, stream: Stream, client: socket.socket) -> None:
        stream._common.write_timeout = 0.8
        takes_too_little(stream, client, gevent.spawn(stream.send, bytes(64 << 20)))

    def test_a_reader_that_stops_is_dropped(self, stream: Stream, client: socket.socket) -> None:
        stream._common.write_timeout = 0.05
        with pytest.raises(ClientDisconnected, match="has read nothing"):
            stream.send(b"x" * BIG)
        assert client.recv(1) == b"x"

    def test_what_is_on_its_way_when_the_wait_begins_counts_for_nothing(self, stream: Stream) -> None:
        stream._common.write_timeout = 1
        began = time.monotonic()
        with pytest.raises(ClientDisconnected, match="has read nothing"):
            stream.send(bytes(32 << 20))
        assert 1 <= time.monotonic() - began < 1.8

    def test_writing_to_a_reset_connection_is_a_disconnect(self, stream: Stream, client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
        for send in (lambda: stream.send(b"x"), lambda: stream.send_parts(b"x", b"y" * BIG)):
            with pytest.raises(ClientDisconnected):
                send()

    def test_a_reset_while_waiting_to_write_is_a_disconnect(self, stream: Stream, client: socket.socket) -> None:
        writer = gevent.spawn(stream.send, b"x" * BIG)
        gevent.sleep(0.02)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
        with pytest.raises(ClientDisconnected):
            writer.get(timeout=5)


class TestOffering(Offering):
    """Over plain sockets."""


class TestGathering:
    """Small pieces, which the kernel may send together."""

    def test_everything_leaves_when_the_application_waits(self, stream: Stream, client: socket.socket) -> None:
        for _ in range(10):  # fewer sends in all than a turn has
            stream.gather(True)
            send_pieces(stream, 10)
            assert not leaves_at_once(stream)
            gevent.sleep(0)
            assert leaves_at_once(stream)
            assert not stream.gathers
            assert receive(client, 10)

    def test_it_is_switched_off_at_once(self, stream: Stream, client: socket.socket) -> None:
        stream.gather(True)
        send_pieces(stream, 10)
        stream.gather(False)
        assert leaves_at_once(stream)
        assert receive(client, 10)

    def test_everything_leaves_with_the_end(self, stream: Stream, client: socket.socket) -> None:
        """Even where the client has sent more than anybody will read."""
        client.sendall(b"and more")
        eventually(stream.readable)
        stream.gather(True)
        send_pieces(stream, 10)
        stream.close()
        assert receive(client, 10)
        gevent.sleep(0)  # what was to switch it off finds the stream closed

    def test_a_unix_socket_gathers_nothing(self) -> None:
        ours, client = socket.socketpair()
        loop = gevent.get_hub().loop
        poller = EpollPoller(loop)
        stream = Stream(raw(ours), common(poller, Deadlines(loop), Outbox()))
        stream.gather(True)
        send_pieces(stream, 10)
        assert receive(client, 10)
        gevent.sleep(0)
        stream.close()
        client.close()
        poller.close()


def send_pieces(stream: Stream, count: int) -> None:
    for _ in range(count):
        stream.send_parts(b"1", b"2", b"3")


def leaves_at_once(stream: Stream) -> bool:
    with borrowed(stream.fileno()) as sock:
        return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


def receive(client: socket.socket, pieces: int) -> bool:
    received = b""
    while len(received) < 3 * pieces:
        received += client.recv(1 << 20)
    return received == b"123" * pieces


def takes_little_and_then_nothing(stream: Stream, client: socket.socket, writer: gevent.Greenlet) -> None:
    """Be a client for whom the kernel does not tell of room, since there is much only then."""
    eventually(lambda: stream.writing)
    for _ in range(20):
        gevent.sleep(0.1)
        client.recv(1 << 16)
    assert not writer.ready()
    with pytest.raises(ClientDisconnected, match="has read nothing"):
        writer.get(timeout=5)


def takes_too_little(stream: Stream, client: socket.socket, writer: gevent.Greenlet) -> None:
    """Be such a client, as long as it is put up with."""
    stream._common.write_min_rate = 2 << 20
    eventually(lambda: stream.writing)
    until = time.monotonic() + 10
    while not writer.ready() and time.monotonic() < until:
        gevent.sleep(0.1)
        client.recv(1 << 16)
    with pytest.raises(ClientDisconnected, match=r"or too little, for 0\.8 s"):
        writer.get(block=False)


@contextmanager
def file_under_way(stream: Stream) -> Iterator[tuple[IO[bytes], gevent.Greenlet]]:
    """Yield a large file, and the greenlet that sends it and waits for the client by now."""
    with tempfile.TemporaryFile() as file:
        file.truncate(64 << 20)
        writer = gevent.spawn(stream.send_file, file.fileno(), 0, 64 << 20)
        eventually(lambda: stream.writing)
        yield file, writer


class TestFiles:
    def test_a_file_goes_out_from_its_offset(self, stream: Stream, client: socket.socket) -> None:
        with tempfile.TemporaryFile() as file:
            data = os.urandom(1 << 16) * (BIG >> 16)
            file.write(data)
            file.flush()
            writer = gevent.spawn(
                lambda: (stream.send_file(file.fileno(), 10, len(data) - 20), stream.close()),
            )
            assert read_all(client) == data[10:-10]
            writer.get(timeout=5)

    def test_a_file_that_shrinks_cuts_the_connection(self, stream: Stream, client: socket.socket) -> None:
        with tempfile.TemporaryFile() as file:
            file.write(b"short")
            file.flush()
            with pytest.raises(ClientDisconnected, match="shorter"):
                stream.send_file(file.fileno(), 0, 10)
        assert client.recv(10) == b"short"

    def test_others_get_their_turn_while_a_file_is_sent(self, stream: Stream, client: socket.socket) -> None:
        turns: list[int] = []
        with tempfile.TemporaryFile() as file:
            file.truncate(64 << 20)
            writer = gevent.spawn(stream.send_file, file.fileno(), 0, 64 << 20)
            left = 64 << 20
            while left:
                left -= len(client.recv(1 << 20))
                turns.append(1)
            writer.get(timeout=5)
        assert len(turns) > 10

    def test_a_client_that_left_ends_it(self, stream: Stream, client: socket.socket) -> None:
        with tempfile.TemporaryFile() as file:
            file.truncate(BIG)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.close()
            with pytest.raises(ClientDisconnected):
                stream.send_file(file.fileno(), 0, BIG)

    @pytest.mark.parametrize("head", [b"", b"h" * (32 << 20)], ids=["in the midst of it", "behind a head that waits"])
    def test_what_takes_its_descriptors_number_is_not_sent(
        self, stream: Stream, client: socket.socket, head: bytes
    ) -> None:
        size = 16 << 20
        with tempfile.TemporaryFile() as right, tempfile.TemporaryFile() as wrong:
            right.write(b"r" * size)
            wrong.write(b"w" * size)
            right.flush()
            wrong.flush()
            number = os.dup(right.fileno())
            before = len(list(Path("/proc/self/fd").iterdir()))
            writer = gevent.spawn(lambda: (stream.send_file(number, 0, size, head), stream.close()))
            eventually(lambda: stream.writing)
            os.dup2(wrong.fileno(), number)
            assert read_all(client) == head + b"r" * size
            writer.get(timeout=5)
            os.close(number)
            assert len(list(Path("/proc/self/fd").iterdir())) <= before - 1

    def test_it_is_sent_where_there_is_no_descriptor_left(
        self, stream: Stream, client: socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(_fd: int) -> int:
            raise OSError(errno.EMFILE, "too many")

        monkeypatch.setattr(os, "dup", fails)
        with tempfile.TemporaryFile() as file:
            file.truncate(BIG)
            writer = gevent.spawn(lambda: (stream.send_file(file.fileno(), 0, BIG, b"head"), stream.close()))
            assert read_all(client) == b"head" + bytes(BIG)
            writer.get(timeout=5)

    def test_its_greenlet_is_woken_at_the_end_alone(self, stream: Stream, client: socket.socket) -> None:
        switches: list[object] = []
        with tempfile.TemporaryFile() as file:
            file.truncate(64 << 20)
            writer = gevent.spawn(stream.send_file, file.fileno(), 0, 64 << 20)
            before = greenlet.settrace(lambda _event, both: switches.append(both[1]))
            try:
                left = 64 << 20
                while left:
                    left -= len(client.recv(1 << 20))
                writer.get(timeout=5)
            finally:
                greenlet.settrace(before)
        assert switches.count(writer) == 2

    def test_a_file_that_shrinks_while_the_client_is_awaited(self, stream: Stream, client: socket.socket) -> None:
        with file_under_way(stream) as (file, writer):
            file.truncate(0)
            reader = gevent.spawn(read_all, client)
            with pytest.raises(ClientDisconnected, match="shorter"):
                writer.get(timeout=5)
            stream.abort()
            with suppress(ConnectionResetError):
                reader.get(timeout=5)

    def test_a_reset_while_the_client_is_awaited(self, stream: Stream, client: socket.socket) -> None:
        with file_under_way(stream) as (_, writer):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.close()
            with pytest.raises(ClientDisconnected):
                writer.get(timeout=5)

    def test_a_client_that_left_is_sent_no_more_of_it(self, stream: Stream, client: socket.socket) -> None:
        with file_under_way(stream) as (_, writer):
            stream.give_up()
            with pytest.raises(ClientDisconnected, match="has left"):
                writer.get(timeout=5)

    def test_what_the_system_says_against_waiting_is_its_greenlets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Full(EpollPoller):
            def tell_again(self, stream: Stream, fd: int) -> None:
                if gevent.getcurrent() is gevent.get_hub():
                    raise OSError(errno.ENOMEM, "Cannot allocate memory")
                super().tell_again(stream, fd)

        monkeypatch.setattr(rest, "SENDFILE_STEP", 1 << 16)
        with stream_pair(Full) as (stream, _), tempfile.TemporaryFile() as file:
            file.truncate(1 << 20)
            writer = gevent.spawn(stream.send_file, file.fileno(), 0, 1 << 20)
            with pytest.raises(OSError, match="Cannot allocate memory"):
                writer.get(timeout=5)

    def test_a_slow_reader_is_not_dropped(self, stream: Stream, client: socket.socket) -> None:
        stream._common.write_timeout = 0.3
        size = 24 << 20
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            writer = gevent.spawn(stream.send_file, file.fileno(), 0, size)
            left = size
            while left > 4 << 20:
                gevent.sleep(0.1)  # in all, far more than the timeout
                for _ in range(2):
                    left -= len(client.recv(1 << 20))
            while left:
                left -= len(client.recv(1 << 20))
            writer.get(timeout=5)

    def test_whoever_takes_less_than_makes_room_is_not_dropped(self, stream: Stream, client: socket.socket) -> None:
        stream._common.write_timeout = 0.8
        with file_under_way(stream) as (_, writer):
            takes_little_and_then_nothing(stream, client, writer)

    def test_whoever_takes_less_than_the_least_rate_is_dropped(self, stream: Stream, client: socket.socket) -> None:
        stream._common.write_timeout = 0.8
        with file_under_way(stream) as (_, writer):
            takes_too_little(stream, client, writer)

    def test_a_reader_that_stops_is_dropped(self, stream: Stream, client: socket.socket) -> None:
        stream._common.write_timeout = 0.05
        with tempfile.TemporaryFile() as file:
            file.truncate(64 << 20)
            with pytest.raises(ClientDisconnected, match="has read nothing"):
                stream.send_file(file.fileno(), 0, 64 << 20)
        assert client.recv(1) == b"\0"


def fill(stream: Stream) -> None:
    """Send until the kernel takes no more."""
    while stream._sock.send(b"x" * 65536):
        pass


@contextmanager
def stalled_sender(client: socket.socket) -> Iterator[None]:
    """More than is thrown away at once waits in the kernel while the block runs."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
    sender = gevent.spawn(client.sendall, b"x" * (64 << 20))
    gevent.sleep(0.02)
    try:
        yield
    finally:
        sender.kill()


class TestEnding:
    def test_one_whose_client_is_silent_and_has_all_may_close(self, stream: Stream, client: socket.socket) -> None:
        stream.send(b"answer")
        assert stream.finished()
        stream.close()
        assert read_all(client) == b"answer"

    @pytest.mark.parametrize("more", [False, True])
    def test_the_end_comes_with_the_close_and_not_before(
        self, stream: Stream, client: socket.socket, more: bool
    ) -> None:
        stream.send(b"answer", more)
        assert stream.finished(last=True)
        if not more:
            assert client.recv(6) == b"answer"
        client.settimeout(0)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        client.settimeout(10)
        stream.close()
        assert read_all(client) == (b"answer" if more else b"")

    def test_one_whose_client_may_send_more_waits_until_it_has_all(self, stream: Stream, client: socket.socket) -> None:
        """What the kernel holds back stands for what the network has lost."""
        stream.send(b"answer", True)
        assert not stream.finished(last=False)
        assert read_all(client) == b"answer"

    @pytest.mark.parametrize("more", [False, True])
    def test_one_that_owes_little_to_a_client_without_room_may_not(self, more: bool) -> None:
        with stream_pair(client_buffer=2048) as (stream, client):
            stream.send(b"x" * 10000, more)
            assert 0 < stream.owed() <= 10000
            assert not stream.finished(last=True)
            assert len(read_all(client)) == 10000

    def test_one_whose_client_has_ended_may_close(self, stream: Stream, client: socket.socket) -> None:
        client.shutdown(socket.SHUT_WR)
        gevent.sleep(0.01)
        assert stream.finished()

    def test_one_whose_client_has_reset_may_close(self, stream: Stream, client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
        gevent.sleep(0.01)
        assert stream.finished()

    def test_one_with_bytes_in_the_kernel_may_not(self, stream: Stream, client: socket.socket) -> None:
        client.sendall(b"x")
        gevent.sleep(0.01)
        assert not stream.finished()

    def test_one_with_bytes_received_ahead_may_not(self, stream: Stream) -> None:
        stream.unread(b"x")
        assert not stream.finished()

    def test_one_that_owes_much_may_not(self, stream: Stream) -> None:
        fill(stream)
        assert not stream.finished(last=True)

    def test_what_comes_is_thrown_away_until_the_end(self, stream: Stream, client: socket.socket) -> None:
        stream.unread(b"x")
        stream.send(b"answer")
        assert not stream.finished()
        sender = gevent.spawn(lambda: (client.sendall(b"x" * BIG), client.shutdown(socket.SHUT_WR)))
        eventually(lambda: not stream.throw_away())
        assert read_all(client) == b"answer"
        sender.get(timeout=5)

    def test_what_is_thrown_away_at_once_is_bounded(self, stream: Stream, client: socket.socket) -> None:
        with stalled_sender(client):
            assert stream.throw_away()
            assert stream._sock.peek() is not None

    def test_what_is_left_is_told_again(self, stream: Stream, client: socket.socket) -> None:
        with stalled_sender(client):
            gevent.sleep(0.01)
            assert stream.throw_away()
            woken = Woken()
            stream.park(woken, 5)
            eventually(lambda: woken.times == [False])

    def test_abort_is_a_reset_not_an_end(self, stream: Stream, client: socket.socket) -> None:
        stream.abort()
        assert stream.closed
        with pytest.raises(ConnectionResetError):
            client.recv(10)
        stream.abort()

    def test_close_forgets_the_deadline(self, stream: Stream) -> None:
        woken = Woken()
        stream.park(woken, 0.05)
        stream.close()
        gevent.sleep(0.3)
        assert woken.times == []
        assert stream.fileno() == -1


class TestDetaching:
    def test_the_socket_stays_open_and_what_was_received_is_handed_on(
        self, stream: Stream, client: socket.socket
    ) -> None:
        client.sendall(b"GET /")
        assert stream.recv(100, 5) == b"GET /"
        stream.unread(b"/")
        found = stream.detach()
        assert found is not None
        fd, ahead = found
        assert ahead == b"/"
        assert stream.closed
        assert stream.fileno() == -1
        os.write(fd, b"hello")
        assert client.recv(100) == b"hello"
        os.close(fd)
        assert client.recv(100) == b""
        stream.close()
        stream.watch()
        assert stream.detach() is None

    def test_the_poller_and_the_deadlines_forget_it(self, stream: Stream, client: socket.socket) -> None:
        woken = Woken()
        stream.park(woken, 0.05)
        found = stream.detach()
        assert found is not None
        client.sendall(b"late")
        assert turns_of_the_loop(0.3) < CALM
        assert woken.times == []
        assert os.read(found[0], 100) == b"late"
        os.close(found[0])

    def test_its_next_stream_is_told_of_what_has_come_before(self, stream: Stream, client: socket.socket) -> None:
        client.sendall(b"early")
        found = stream.detach()
        assert found is not None
        other = Stream(Socket(found[0], socket.AF_INET), stream._common)
        other.unread(found[1])
        assert other.recv(100, 5) == b"early"
        reader = gevent.spawn(other.recv, 100)
        gevent.sleep(0.01)
        client.sendall(b"more")
        assert reader.get(timeout=5) == b"more"
        other.close()

    def test_not_while_somebody_receives_or_sends(self, stream: Stream, client: socket.socket) -> None:
        reader = gevent.spawn(stream.recv, 100)
        gevent.sleep(0)
        assert stream.detach() is None
        client.sendall(b"x")
        assert reader.get(timeout=5) == b"x"
        settled = Settled()
        while stream.offer(bytes(BIG), settled):
            pass
        assert stream.detach() is None
        assert not stream.closed

    def test_not_while_a_response_is_kept(self, stream: Stream) -> None:
        stream._common.outbox.open = True
        stream.send_last(b"a", b"b")
        assert stream.detach() is None
        stream.send_kept()
        found = stream.detach()
        assert found is not None
        os.close(found[0])

    def test_what_the_kernel_gathers_leaves(self, stream: Stream, client: socket.socket) -> None:
        stream.gather(True)
        stream.send(b"a")
        found = stream.detach()
        assert found is not None
        gevent.sleep(0)
        assert client.recv(100) == b"a"
        os.close(found[0])
