"""The same stream over TLS, against the standard library's client."""

from __future__ import annotations

import os
import ssl
import tempfile
from typing import TYPE_CHECKING

import gevent
import pytest
from gevent import socket
from gevent import ssl as gevent_ssl
from gevent.exceptions import ConcurrentObjectUseError

from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.loop.deadlines import Deadlines
from geventwsgi.serving.wire.outbox import Outbox
from geventwsgi.serving.wire.poller import poller
from geventwsgi.serving.wire.stream import DeadlineExpired
from geventwsgi.serving.wire.tls import noticing_cuts
from geventwsgi.serving.wire.tls_stream import TLSStream
from tests.support.certificates import certificates
from tests.support.eventually import eventually
from tests.support.offering import Offering
from tests.support.streams import CALM, Woken, common, raw, tcp_pair, tls_client_context, turns_of_the_loop

if TYPE_CHECKING:
    from collections.abc import Iterator

BIG = 8 << 20


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates().certfile, certificates().keyfile)
    return noticing_cuts(context)


def unencrypted_pair() -> tuple[TLSStream, socket.socket]:
    accepted, client = tcp_pair()
    loop = gevent.get_hub().loop
    shared = common(poller(loop), Deadlines(loop), Outbox())
    return TLSStream(raw(accepted), shared, server_context(), suppress_ragged_eofs=True), client


@pytest.fixture
def pair() -> Iterator[tuple[TLSStream, gevent_ssl.SSLSocket]]:
    stream, plain = unencrypted_pair()
    shaking = gevent.spawn(stream.handshake, 10)
    client = tls_client_context().wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False)
    shaking.get(timeout=10)
    yield stream, client
    stream.close()
    client.close()


@pytest.fixture
def stream(pair: tuple[TLSStream, gevent_ssl.SSLSocket]) -> TLSStream:
    return pair[0]


@pytest.fixture
def client(pair: tuple[TLSStream, gevent_ssl.SSLSocket]) -> gevent_ssl.SSLSocket:
    return pair[1]


def read_all(client: gevent_ssl.SSLSocket) -> bytes:
    data = bytearray()
    while piece := client.recv(1 << 20):
        data += piece
    return bytes(data)


class TestHandshake:
    def test_a_silent_client_runs_into_the_deadline(self) -> None:
        stream, client = unencrypted_pair()
        with pytest.raises(DeadlineExpired):
            stream.handshake(0.05)
        stream.close()
        client.close()

    def test_a_dripping_client_runs_into_the_same_deadline(self) -> None:
        stream, client = unencrypted_pair()
        shaking = gevent.spawn(stream.handshake, 0.3)
        for byte in b"\x16\x03\x01\x02\x00\x01":
            client.sendall(bytes([byte]))
            gevent.sleep(0.1)
        with pytest.raises(DeadlineExpired):
            shaking.get(timeout=5)
        stream.close()
        client.close()

    @pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 100, b""])
    def test_what_is_no_tls_is_a_disconnect(self, data: bytes) -> None:
        stream, client = unencrypted_pair()
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        with pytest.raises(ClientDisconnected):
            stream.handshake(5)
        stream.close()
        client.close()


class TestReading:
    def test_bytes_that_the_loop_cannot_see_are_read_first(
        self, stream: TLSStream, client: gevent_ssl.SSLSocket
    ) -> None:
        client.sendall(b"one record")
        assert stream.recv(3, 5) == b"one"
        with gevent.Timeout(5):
            assert stream.recv(100) == b" record"

    def test_many_records_in_one_segment(self, stream: TLSStream, client: gevent_ssl.SSLSocket) -> None:
        data = os.urandom(100000)
        writer = gevent.spawn(client.sendall, data)
        received = b""
        while len(received) < len(data):
            received += stream.recv(70000, 5)
        writer.get(timeout=5)
        assert received == data

    def test_close_notify_is_the_end(self, stream: TLSStream, client: gevent_ssl.SSLSocket) -> None:
        closing = gevent.spawn(client.unwrap)
        assert stream.recv(100, 5) == b""
        stream.close()
        closing.get(timeout=5)

    def test_an_end_without_close_notify_is_the_end_too(self, stream: TLSStream, client: gevent_ssl.SSLSocket) -> None:
        client.shutdown(socket.SHUT_WR)
        assert stream.recv(100, 5) == b""

    def test_an_end_without_close_notify_may_count_as_a_cut(
        self, stream: TLSStream, client: gevent_ssl.SSLSocket
    ) -> None:
        stream._suppress_ragged_eofs = False
        client.shutdown(socket.SHUT_WR)
        with pytest.raises(ClientDisconnected, match="TLS"):
            stream.recv(100, 5)

    def test_garbage_inside_the_session_is_a_disconnect(self, stream: TLSStream, client: gevent_ssl.SSLSocket) -> None:
        os.write(client.fileno(), b"\x17\x03\x03\x00\x20" + b"x" * 32)
        with pytest.raises(ClientDisconnected, match="TLS"):
            stream.recv(100, 5)

    def test_a_large_read_of_what_was_handed_back_takes_no_ciphertext(
        self, stream: TLSStream, client: gevent_ssl.SSLSocket
    ) -> None:
        client.sendall(b"w" * 30000)
        stream.unread(b"back")
        stream.hot = True  # as the poller makes it
        data = b""
        while len(data) < 30004:
            data += stream.recv(20000, 5)
        assert data == b"back" + b"w" * 30000

    def test_deadline(self, stream: TLSStream) -> None:
        with pytest.raises(DeadlineExpired):
            stream.recv(100, 0.05)

    def test_interrupt_ends_a_wait_but_loses_no_bytes(self, stream: TLSStream, client: gevent_ssl.SSLSocket) -> None:
        reader = gevent.spawn(stream.recv, 100)
        gevent.sleep(0)
        stream.interrupt()
        assert reader.get(timeout=5) == b""
        client.sendall(b"still")
        gevent.sleep(0.05)
        assert stream.recv(100) == b"still"


class TestPersistentWatcher:
    def test_pipelined_bytes_do_not_spin_the_loop_and_are_no_departure(
        self, stream: TLSStream, client: gevent_ssl.SSLSocket
    ) -> None:
        client.sendall(b"request")
        assert stream.recv(100, 5) == b"request"
        client.sendall(b"pipelined")
        assert turns_of_the_loop(0.2) < CALM
        assert not stream.gone
        assert stream.recv(100, 5) == b"pipelined"

    def test_close_notify_while_nobody_reads_is_a_departure(
        self, stream: TLSStream, client: gevent_ssl.SSLSocket
    ) -> None:
        client.sendall(b"request")
        assert stream.recv(100, 5) == b"request"
        closing = gevent.spawn(client.unwrap)
        assert turns_of_the_loop(0.2) < CALM
        assert stream.gone
        stream.close()
        closing.get(timeout=5)

    def test_a_cut_while_nobody_reads_is_a_departure(self, stream: TLSStream, client: gevent_ssl.SSLSocket) -> None:
        assert not stream.gone
        client.close()
        eventually(lambda: stream.gone)

    def test_where_somebody_waits_for_the_kernels_telling_bytes_are_left_to_it(
        self, stream: TLSStream, client: gevent_ssl.SSLSocket
    ) -> None:
        stream.leave_unread()
        client.sendall(b"hello")
        eventually(lambda: stream.hot)
        gevent.sleep(0.05)
        assert not stream.ahead()
        assert stream.recv(100, 5) == b"hello"

    def test_parks_and_wakes(self, stream: TLSStream, client: gevent_ssl.SSLSocket) -> None:
        woken = Woken()
        with pytest.raises(DeadlineExpired):
            stream.recv(100, 0.05)
        stream.park(woken, 30)
        client.sendall(b"back")
        eventually(lambda: woken.times)
        assert woken.times == [False]
        assert stream.recv(100, 5) == b"back"


class TestWriting:
    def test_big_data_arrives_whole(self, stream: TLSStream, client: gevent_ssl.SSLSocket) -> None:
        data = os.urandom(1 << 16) * (BIG >> 16)
        writer = gevent.spawn(
            lambda: (
                stream.send_parts(b"he", b"ad"),
                stream.send_parts(b"1", data),
                stream.send(b"end"),
                stream.close(),
            )
        )
        assert read_all(client) == b"head1" + data + b"end"
        writer.get(timeout=5)

    def test_a_second_writer_is_refused_and_the_first_goes_on(
        self, stream: TLSStream, client: gevent_ssl.SSLSocket
    ) -> None:
        first = gevent.spawn(lambda: (stream.send(b"x" * BIG), stream.close()))
        gevent.sleep(0)
        with pytest.raises(ConcurrentObjectUseError, match="send"):
            stream.send(b"y")
        assert read_all(client) == b"x" * BIG
        first.get(timeout=5)

    def test_a_file_goes_out_from_its_offset(self, stream: TLSStream, client: gevent_ssl.SSLSocket) -> None:
        with tempfile.TemporaryFile() as file:
            data = os.urandom(300000)
            file.write(data)
            file.flush()
            writer = gevent.spawn(lambda: (stream.send_file(file.fileno(), 10, len(data) - 20), stream.close()))
            assert read_all(client) == data[10:-10]
            writer.get(timeout=5)

    def test_what_takes_its_descriptors_number_is_not_sent(
        self, stream: TLSStream, client: gevent_ssl.SSLSocket
    ) -> None:
        size = 16 << 20
        with tempfile.TemporaryFile() as right, tempfile.TemporaryFile() as wrong:
            right.write(b"r" * size)
            wrong.write(b"w" * size)
            right.flush()
            wrong.flush()
            number = os.dup(right.fileno())
            writer = gevent.spawn(lambda: (stream.send_file(number, 0, size, b"head"), stream.close()))
            eventually(lambda: stream.writing)
            os.dup2(wrong.fileno(), number)
            assert read_all(client) == b"head" + b"r" * size
            writer.get(timeout=5)
            os.close(number)

    def test_a_file_that_shrinks_cuts_the_connection(self, stream: TLSStream) -> None:
        with tempfile.TemporaryFile() as file, pytest.raises(ClientDisconnected, match="shorter"):
            stream.send_file(file.fileno(), 0, 10)

    def test_the_end_says_close_notify_first(self, stream: TLSStream, client: gevent_ssl.SSLSocket) -> None:
        stream.send(b"answer")
        stream.finish()
        assert stream.finished(last=True)
        stream.close()
        assert read_all(client) == b"answer"

    def test_close_notify_waits_for_room(self, stream: TLSStream, client: gevent_ssl.SSLSocket) -> None:
        writer = gevent.spawn(lambda: (stream.send(b"x" * BIG), stream.finish(), stream.finished(), stream.close()))
        assert len(read_all(client)) == BIG
        writer.get(timeout=5)

    def test_a_cut_says_no_close_notify(self, stream: TLSStream, client: gevent_ssl.SSLSocket) -> None:
        stream.cut()
        stream.finish()
        stream.finished()
        stream.close()
        with pytest.raises(ssl.SSLEOFError):
            client.recv(10)

    def test_what_is_thrown_away_is_not_decrypted(self, stream: TLSStream, client: gevent_ssl.SSLSocket) -> None:
        stream.finished()
        raw_client = socket.socket(fileno=os.dup(client.fileno()))
        raw_client.sendall(b"no record of TLS at all" * 1000)
        raw_client.shutdown(socket.SHUT_WR)
        eventually(lambda: not stream.throw_away())
        raw_client.close()

    def test_what_would_decrypt_is_let_go(self, stream: TLSStream) -> None:
        stream.finished()
        stream.throw_away()
        assert stream.ssl_object is None

    def test_abort_is_a_cut_not_an_end(self, stream: TLSStream, client: gevent_ssl.SSLSocket) -> None:
        stream.abort()
        with pytest.raises(OSError):
            client.recv(10)

    def test_writing_after_the_end_is_a_disconnect(self, stream: TLSStream, client: gevent_ssl.SSLSocket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
        gevent.sleep(0.05)
        with pytest.raises(ClientDisconnected):
            stream.send(b"x" * 1000)


class TestOffering(Offering):
    """Over TLS."""
