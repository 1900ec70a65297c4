"""``environ["wsgi.websocket"]`` in the hands of several greenlets, at its end, and with clients that mean no good."""

from __future__ import annotations

import gc
import io
import os
import socket
import threading
import time
import weakref
import zlib
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import gevent
import pytest

from geventwsgi.errors import ResponseError
from geventwsgi.serving.request import upgrade
from geventwsgi.serving.request.pings import Pings
from geventwsgi.testing import live_server
from geventwsgi.wsgi.sessions import session
from geventwsgi.wsgi.websocket import WebSocketError
from tests.support import websocket_server
from tests.support.certificates import certificates
from tests.support.waiting import wait_until
from tests.support.websocket import BINARY, CLOSE, PING, PONG, TEXT, frame
from tests.support.websocket_server import WebSocketServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

CONTINUATION = 0
RESET = b"\x01\0\0\0\0\0\0\0"


class Served(WebSocketServer):
    """A server whose application does one thing with each WebSocket."""

    def __init__(self, deed: Callable[[Any], object]) -> None:
        super().__init__(self._use_it)
        self.deed = deed
        #: What the deed of each session came to.
        self.results: list[Any] = []

    def _use_it(self, environ: dict[str, Any]) -> list[bytes]:
        try:
            self.results.append(self.deed(environ["wsgi.websocket"]))
        except BaseException as error:
            self.results.append(error)
            raise
        return []

    def result(self) -> Any:
        """Return what the only session came to, when it has ended."""
        wait_until(lambda: self.results, 20)
        (result,) = self.results
        return result

    def statuses(self, count: int) -> list[int]:
        """Return the statuses of the access log, when it has so many."""
        return [int(line) for line in self.records(count)]


def serving(deed: Callable[[Any], object], **settings: Any) -> AbstractContextManager[Served]:
    return websocket_server.serving(Served(deed), **settings)


def raises(kinds: Any, function: Callable[..., object], *arguments: Any) -> bool:
    """Return whether a call raises one of these."""
    try:
        function(*arguments)
    except kinds:
        return True
    return False


def receive_all(websocket: Any) -> list[Any]:
    messages = []
    while (message := websocket.receive()) is not None:
        messages.append(message)
    return messages


def receive_sizes(websocket: Any) -> list[int]:
    sizes = []
    while (message := websocket.receive()) is not None:
        sizes.append(len(message))
    return sizes


def deflated(data: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    compressed = compressor.compress(data) + compressor.flush(flush)
    return compressed[:-4] if flush == zlib.Z_SYNC_FLUSH else compressed


class TestGreenlets:
    def test_two_that_receive_are_both_served(self) -> None:
        def deed(websocket: Any) -> list[Any]:
            readers = [gevent.spawn(websocket.receive) for _ in range(2)]
            return [reader.get(timeout=10) for reader in readers]

        with serving(deed) as served, served.connect() as client:
            client.sock.sendall(frame(TEXT, b"one") + frame(TEXT, b"two"))
            assert served.result() == ["one", "two"]

    def test_all_that_receive_hear_of_the_end(self) -> None:
        def deed(websocket: Any) -> list[Any]:
            readers = [gevent.spawn(websocket.receive) for _ in range(3)]
            gevent.sleep(0)
            websocket.send("ready")
            return [reader.get(timeout=10) for reader in readers]

        with serving(deed) as served, served.connect() as client:
            assert client.receive() == "ready"
            client.close()
            assert served.result() == [None, None, None]

    @pytest.mark.parametrize("share", [60.0, 0.0], ids=["while it waits", "while it lets others come first"])
    def test_closing_in_another_greenlet_ends_the_receive(self, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(upgrade, "SHARE", share)

        def deed(websocket: Any) -> Any:
            reader = gevent.spawn(websocket.receive)
            gevent.sleep(0)
            websocket.close(4000, "enough")
            websocket.close()
            return reader.get(timeout=10)

        with serving(deed) as served, served.connect() as client:
            assert served.result() is None
            assert (client.receive(), client.close_code) == (None, 4000)

    def test_a_number_is_no_reason(self) -> None:
        """``bytes(10**10)`` would take 10 GB, and the number may be a client's."""

        def deed(websocket: Any) -> int:
            return raises(TypeError, lambda: websocket.close(1000, 10**10))

        with serving(deed) as served, served.connect():
            assert served.result() == 1

    @pytest.mark.parametrize("who", ["client", "server"])
    def test_after_a_close_receiving_and_sending_is_an_error(self, who: str) -> None:
        def deed(websocket: Any) -> int:
            if who == "client":
                assert websocket.receive() is None
            else:
                websocket.close()
            return sum(raises(WebSocketError, use) for use in (websocket.receive, lambda: websocket.send("x")))

        with serving(deed) as served, served.connect() as client:
            if who == "client":
                client.close()
            assert served.result() == 2

    def test_one_that_is_killed_before_its_turn_spoils_no_compression(self) -> None:
        texts = [os.urandom(300_000).hex() for _ in range(4)]

        def deed(websocket: Any) -> None:
            senders = [gevent.spawn(websocket.send, text) for text in texts]
            gevent.sleep(0)
            senders[1].kill()
            gevent.joinall(senders, timeout=10)
            websocket.send("last " * 100)
            websocket.receive()

        with serving(deed) as served, served.connect(deflate=True) as client:
            received = [client.receive() for _ in range(4)]
            assert received == [texts[0], *texts[2:], "last " * 100]

    def test_an_application_may_note_things_on_it_and_on_the_socket(self) -> None:
        def deed(websocket: Any) -> list[Any]:
            noted = []
            for one in (websocket, websocket.environ["geventwsgi.socket"]):
                one.user = "somebody"
                noted += [one.user, weakref.ref(one)() is one]
            return noted

        with serving(deed) as served, served.connect():
            assert served.result() == ["somebody", True] * 2

    @pytest.mark.parametrize("size", [16383, 16384, 65536, 100_000])
    def test_messages_of_all_sizes_follow_each_other(self, size: int) -> None:
        """However many bytes are asked for at once."""
        with serving(receive_all) as served, served.connect() as client:
            for length in (size, 3, size, size, 3):
                client.send("x" * length)
            client.close()
            assert served.result() == ["x" * length for length in (size, 3, size, size, 3)]

    def test_what_is_no_message_is_not_sent(self) -> None:
        def deed(websocket: Any) -> int:
            bad = ((5, None), (None, None), (b"\xff", False), ("\ud800", None))
            errors = sum(raises((TypeError, ValueError), websocket.send, *arguments) for arguments in bad)
            websocket.send(bytearray(b"good"), binary=False)
            return errors

        with serving(deed) as served, served.connect() as client:
            assert client.receive() == "good"
            assert served.result() == 4


class TestHandshake:
    @pytest.mark.parametrize("name", ["Key", "Protocol", "Extensions"])
    def test_a_field_that_is_not_ascii_is_refused(self, name: str) -> None:
        with serving(receive_all) as served, socket.create_connection(served.address, 10) as client:
            fields = {
                "Version": "13",
                "Key": "AAAAAAAAAAAAAAAAAAAAAA==",
                "Protocol": "a",
                "Extensions": "b",
                name: "\xff",
            }
            lines = ["GET / HTTP/1.1", "Host: x", "Connection: Upgrade, close", "Upgrade: websocket"]
            lines += [f"Sec-WebSocket-{name}: {value}" for name, value in fields.items()]
            client.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
            assert served.statuses(1) == [400]
            assert served.errors.getvalue() == ""

    @pytest.mark.parametrize("offer", [";", "permessage-deflate; ;", ",,", "permessage-deflate;=", '"', "a" * 7000])
    def test_an_offer_of_nonsense_is_no_error(self, offer: str) -> None:
        with serving(receive_all) as served:
            with served.connect(fields=(f"Sec-WebSocket-Extensions: {offer}",)) as client:
                assert client.accepted
            assert served.errors.getvalue() == ""


def send_for_ever(websocket: Any) -> None:
    while True:
        websocket.send("tick")
        gevent.sleep(0.005)


class TestDepartures:
    """A client that leaves is no error, whatever the application makes of it."""

    @pytest.mark.parametrize("how", ["resets", "vanishes", "closes"])
    @pytest.mark.parametrize("wrapped", [False, True])
    def test_while_the_application_sends(self, how: str, *, wrapped: bool) -> None:
        def deed(websocket: Any) -> None:
            reader = gevent.spawn(websocket.receive)
            try:
                send_for_ever(websocket)
            except WebSocketError as error:
                if wrapped:
                    raise RuntimeError("sending failed") from error
                raise
            finally:
                reader.kill()

        with serving(deed) as served:
            with served.connect() as client:
                assert client.receive() == "tick"
                if how == "closes":
                    client.sock.sendall(frame(CLOSE, b"\x03\xe8"))
                    while client.receive() is not None:
                        pass
                    assert client.close_code == 1000
                    assert client.rest() == b""
                elif how == "resets":
                    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            assert served.statuses(1) == [101]
            assert served.errors.getvalue() == ""

    def test_a_failure_of_the_applications_own_is_still_told(self) -> None:
        def deed(websocket: Any) -> None:
            websocket.receive()
            raise RuntimeError("on purpose")

        with serving(deed) as served:
            with served.connect() as client:
                client.close()
            served.statuses(1)
            assert "on purpose" in served.errors.getvalue()

    def test_sending_after_ones_own_close_is_still_told(self) -> None:
        def deed(websocket: Any) -> None:
            websocket.close()
            websocket.send("x")

        with serving(deed) as served:
            with served.connect() as client:
                assert client.receive() is None
            served.statuses(1)
            assert "the WebSocket is closed" in served.errors.getvalue()

    def test_a_client_that_takes_nothing_ends_the_receive(self) -> None:
        def deed(websocket: Any) -> Any:
            sender = gevent.spawn(lambda: [websocket.send(b"x" * 1_000_000) for _ in range(50)])
            result = websocket.receive()
            sender.join(10)
            return result, type(sender.exception)

        with serving(deed, write_timeout=0.3) as served, served.connect():
            assert served.result() == (None, WebSocketError)


class TestClosing:
    @pytest.fixture(autouse=True)
    def brief(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(session, "CLOSE_WAIT", 0.3)

    @pytest.mark.parametrize("chat", [b"", frame(PONG), frame(TEXT, b"x" * 100)], ids=["silent", "pongs", "messages"])
    def test_a_client_that_does_not_answer_has_its_time_in_all(self, chat: bytes) -> None:
        with serving(lambda websocket: websocket.send("bye")) as served, served.connect() as client:
            assert client.receive() == "bye"
            stop = threading.Event()

            def talk() -> None:
                with suppress(OSError):
                    while not stop.wait(0.02):
                        client.sock.sendall(chat)

            talker = threading.Thread(target=talk)
            talker.start()
            try:
                assert served.statuses(1) == [101]
            finally:
                stop.set()
                talker.join()

    def test_a_flood_does_not_prolong_it(self) -> None:
        with serving(lambda websocket: websocket.send("bye")) as served, served.connect() as client:
            assert client.receive() == "bye"
            client.sock.settimeout(0.5)
            with pytest.raises(OSError):  # noqa: PT012 - whatever it is
                while True:
                    client.sock.sendall(frame(PONG) * 100)
                    time.sleep(0.001)
            assert served.statuses(1) == [101]

    def test_a_greenlet_that_still_sends_does_not_prolong_it(self) -> None:
        def deed(websocket: Any) -> None:
            gevent.spawn(lambda: [websocket.send(b"x" * 1_000_000) for _ in range(50)])
            gevent.sleep(0.1)

        with serving(deed) as served, served.connect():
            assert served.statuses(1) == [101]

    def test_a_request_that_is_ended_says_so_and_waits_for_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(session, "CLOSE_WAIT", 60)

        def deed(websocket: Any) -> None:
            websocket.send("hello")
            raise gevent.GreenletExit

        with serving(deed) as served, served.connect() as client:
            with suppress(ConnectionError):
                assert client.receive() == "hello"
                client.receive()
            assert client.close_code == 1011


class TestAnswer:
    """It is answered at the first use: an application may answer otherwise, and take the connection itself."""

    @staticmethod
    def answer(application: Callable[..., Any]) -> bytes:
        """Return all that the server sends."""
        with live_server(application, wsgi_websocket=True) as url, socket.socket() as client:
            parts = urlsplit(url)
            client.connect((parts.hostname, parts.port))
            client.sendall(
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            client.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: client.recv(65536), b""))

    def test_an_application_may_refuse(self) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            assert environ["wsgi.websocket"].path == "/"
            start_response("403 Forbidden", [("X-A", "1")])
            return [b"not ", b"you"]

        answer = self.answer(app)
        assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n") and answer.count(b"HTTP/1.1") == 1
        assert b"not " in answer and b"you" in answer

    def test_an_application_may_take_the_connection_itself(self) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            environ["geventwsgi.socket"].sendall(b"HTTP/1.1 101 Mine\r\n\r\nhello")
            return []

        assert self.answer(app) == b"HTTP/1.1 101 Mine\r\n\r\nhello"

    @pytest.mark.parametrize("use", ["closed", "close"])
    def test_whatever_is_asked_of_it_answers(self, use: str) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            thing = getattr(environ["wsgi.websocket"], use)
            if callable(thing):
                thing()
            start_response("200 OK", [])
            return [b"of a framework"]

        answer = self.answer(app)
        assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n") and b"framework" not in answer

    def test_one_that_nobody_wants_is_closed(self) -> None:
        answer = self.answer(lambda environ, start_response: [])
        assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n") and answer.endswith(b"\x88\x02\x03\xe8")

    def test_a_failure_before_it_is_a_500(self) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            raise ValueError("on purpose")

        assert self.answer(app).startswith(b"HTTP/1.1 500 ")


class TestPings:
    """``websocket_ping_interval`` and ``websocket_ping_timeout``."""

    PING, PONG_BACK = b"\x89\0", frame(PONG)

    @pytest.fixture(autouse=True)
    def brief(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(session, "CLOSE_WAIT", 0.1)

    def test_a_silent_client_is_pinged_again_and_again(self) -> None:
        with serving(receive_all, websocket_ping_interval=0.1) as served, served.connect() as client:
            client.sock.settimeout(20)
            # The handshake is answered when the application receives.
            assert [client.sock.recv(2) for _ in range(3)] == [self.PING] * 3

    @pytest.mark.parametrize("message", [False, True], ids=["a pong", "a message"])
    def test_a_client_that_answers_stays(self, message: bool) -> None:
        """With whatever bytes. The time is over before the last answer, unless the others have counted."""
        answer = frame(TEXT, b"here") if message else self.PONG_BACK
        with serving(receive_all, websocket_ping_interval=0.1, websocket_ping_timeout=0.8) as served:
            with served.connect() as client:
                for _ in range(6):
                    assert client.sock.recv(2) == self.PING
                    client.sock.sendall(answer)
                client.close()
            assert served.result() == ["here"] * 6 * message

    @pytest.mark.parametrize("secure", [False, True])
    def test_a_client_that_does_not_answer_is_gone(self, secure: bool) -> None:
        """The application finds the end, the log has it as a departure, and the client's connection is closed."""
        made = certificates()
        tls = {"certfile": made.certfile, "keyfile": made.keyfile} if secure else {}
        context = made.client_context() if secure else None
        with serving(receive_all, websocket_ping_interval=0.1, websocket_ping_timeout=0.2, **tls) as served:
            with served.connect(tls=context) as client:
                assert served.result() == []
                assert served.statuses(1) == [101]
                client.sock.settimeout(20)
                with suppress(ConnectionError):
                    assert not client.rest().replace(self.PING, b"")
            assert served.errors.getvalue() == ""

    def test_a_client_has_time_while_the_application_does_not_receive(self) -> None:
        """Its answers are there, and nobody has looked at them."""
        done: list[bool] = []

        def deed(websocket: Any) -> Any:
            websocket.send("ready")
            while not done:
                gevent.sleep(0.01)
            return websocket.receive()

        with (
            serving(deed, websocket_ping_interval=0.05, websocket_ping_timeout=0.05) as served,
            served.connect() as client,
        ):
            assert client.receive() == "ready"
            for _ in range(5):
                assert client.sock.recv(2) == self.PING
                client.sock.sendall(self.PONG_BACK)
            client.send("answer")
            done.append(True)
            assert served.result() == "answer"

    @pytest.mark.parametrize("secure", [False, True])
    def test_none_is_sent_in_the_midst_of_a_message(self, secure: bool) -> None:
        """Pings are due while the message waits for room."""
        made, text = certificates(), "x" * (8 << 20)
        tls = {"certfile": made.certfile, "keyfile": made.keyfile} if secure else {}
        context = made.client_context() if secure else None
        pinged: list[float] = []

        def deed(websocket: Any) -> Any:
            reader = gevent.spawn(websocket.receive)
            sender = gevent.spawn(websocket.send, text)
            gevent.sleep(0.5)
            pinged.append(time.monotonic())
            sender.join(20)
            return reader.get(timeout=20)

        with (
            serving(deed, websocket_ping_interval=0.1, websocket_ping_timeout=0, **tls) as served,
            served.connect(tls=context) as client,
        ):
            wait_until(lambda: pinged, 20)
            assert client.receive() == text
            client.send("got it")
            assert served.result() == "got it"

    @pytest.mark.parametrize("who", ["client", "server"])
    def test_there_is_none_after_a_close(self, who: str) -> None:
        def deed(websocket: Any) -> None:
            if who == "client":
                websocket.receive()
            else:
                websocket.close()
            gevent.sleep(0.3)

        with serving(deed, websocket_ping_interval=0.1) as served, served.connect() as client:
            if who == "client":
                client.sock.sendall(frame(CLOSE))
            assert client.receive() is None
            assert client.rest() == b""

    @pytest.mark.parametrize(("interval", "count"), [(0, 0), (25, 1)])
    def test_an_interval_of_0_is_none(self, interval: float, count: int) -> None:
        def deed(websocket: Any) -> int:
            websocket.send("x")
            return len(self.all())

        with serving(deed, websocket_ping_interval=interval) as served, served.connect():
            assert served.result() == count

    def test_nothing_is_left_of_an_ended_session(self) -> None:
        with serving(lambda websocket: websocket.send("x"), websocket_ping_interval=0.1) as served:
            with served.connect() as client:
                client.receive()
                client.close()
            assert served.statuses(1) == [101]
            wait_until(lambda: not self.all(), 20)

    @staticmethod
    def all() -> list[Pings]:
        return [one for one in gc.get_objects() if type(one) is Pings]


ENDLESS = {
    "empty fragments": (frame(TEXT, b"", fin=False), frame(CONTINUATION, b"", fin=False) * 2000),
    "fragments of a byte": (frame(TEXT, b"", fin=False), frame(CONTINUATION, b"x", fin=False) * 2000),
    "messages of a byte": (b"", frame(BINARY, b"x") * 2000),
    "pongs": (b"", frame(PONG) * 2000),
    "pings": (b"", frame(PING) * 2000),
}


class TestFloods:
    """The others wait for their turn, whatever one client sends: the loop is never held for long."""

    #: Seconds, by far more than it takes, and by far less than it took.
    MUCH = 0.1

    @pytest.fixture(autouse=True)
    def nothing_to_collect(self) -> Iterator[None]:
        """Let the collector not look at what the test run has in memory: that alone takes so long."""
        gc.collect()
        gc.freeze()
        yield
        gc.unfreeze()

    @pytest.mark.parametrize("kind", ENDLESS)
    def test_small_frames(self, kind: str) -> None:
        first, rest = ENDLESS[kind]
        with serving(receive_all, websocket_max_message_size=16 << 20) as served, served.connect() as client:
            drain = threading.Thread(target=client.rest)
            drain.start()
            client.sock.sendall(first)
            for _ in range(20):
                client.sock.sendall(rest)
            client.sock.shutdown(socket.SHUT_WR)
            served.result()
            drain.join()
            assert served.longest_turn() < self.MUCH

    @pytest.mark.parametrize("frames", [1, 100])
    def test_messages_that_inflate_a_thousandfold(self, frames: int) -> None:
        data = deflated(b"a" * (16 << 20))
        size = len(data) // frames + 1
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        message = b"".join(
            frame(CONTINUATION if number else TEXT, piece, fin=number == len(pieces) - 1, rsv=0 if number else 4)
            for number, piece in enumerate(pieces)
        )
        with (
            serving(receive_sizes, websocket_max_message_size=16 << 20) as served,
            served.connect(
                fields=("Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover",)
            ) as client,
        ):
            client.sock.sendall(message * 8)
            client.close()
            assert served.result() == [16 << 20] * 8
            assert served.longest_turn() < self.MUCH

    def test_a_large_answer_is_compressed_in_steps(self) -> None:
        def deed(websocket: Any) -> None:
            websocket.send(os.urandom(4 << 20).hex())
            websocket.receive()

        with serving(deed) as served, served.connect(deflate=True) as client:
            message = client.receive()
            assert message is not None and len(message) == 8 << 20
            client.close()
            assert served.result() is None
            assert served.longest_turn() < self.MUCH

    def test_pings_of_a_client_that_does_not_read_wait_in_the_kernel(self) -> None:
        with serving(receive_all, write_timeout=0.5) as served, served.connect() as client:
            client.sock.settimeout(5)
            with pytest.raises(OSError):  # noqa: PT012 - it is dropped
                while True:
                    client.sock.sendall(frame(PING, b"x" * 125) * 500)
            assert served.result() == []
            assert served.errors.getvalue() == ""


class TestDeflate:
    OFFER = ("Sec-WebSocket-Extensions: permessage-deflate",)

    def test_a_message_may_end_with_a_last_block__rfc7692_7_2_3_4(self) -> None:
        with serving(receive_all) as served, served.connect(fields=self.OFFER) as client:
            last = deflated(b"hello " * 10, zlib.Z_FINISH)
            for data in (last, last + b"\0", last):
                client.sock.sendall(frame(TEXT, data, rsv=4))
            client.close()
            assert served.result() == ["hello " * 10] * 3

    @pytest.mark.parametrize("frames", [1, 3])
    def test_nothing_is_kept_of_what_stands_behind_a_last_block(self, frames: int) -> None:
        last = deflated(b"hello", zlib.Z_FINISH)
        rest = [frame(CONTINUATION, b"x" * 1000, fin=False)] * (frames - 1)
        with serving(receive_all) as served, served.connect(fields=self.OFFER) as client:
            client.sock.sendall(frame(TEXT, last + b"x" * 1000 * (frames == 1), rsv=4, fin=False) + b"".join(rest))
            assert (client.receive(), client.close_code) == (None, 1007)
            assert served.result() == []

    def test_every_window_that_a_client_may_ask_for_works(self) -> None:
        text = "".join(f"{number} " for number in range(20_000))
        for bits in range(9, 16):
            with serving(lambda websocket: websocket.send(websocket.receive())) as served:
                offer = f"{self.OFFER[0]}; server_max_window_bits={bits}; client_max_window_bits=9"
                with served.connect(fields=(offer,)) as client:
                    compressor = zlib.compressobj(wbits=-9)
                    data = compressor.compress(text.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)
                    client.sock.sendall(frame(TEXT, data[:-4], rsv=4))
                    assert client.receive() == text


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "fails"])
def test_all_that_was_sent_arrives_although_the_client_reads_late(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    monkeypatch.setattr(session, "CLOSE_WAIT", 0.1)

    def deed(websocket: Any) -> None:
        websocket.send("x" * 1_000_000)
        if fails:
            raise ValueError("the application's")

    with serving(deed) as served, served.connect() as client:
        served.statuses(1)  # it has waited for the client's answer, and has ended
        assert client.receive() == "x" * 1_000_000
        assert (client.receive(), client.close_code) == (None, 1011 if fails else 1000)


# --- a request that is answered otherwise

HANDSHAKE = (
    b"GET /%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def answered(application: Callable[..., Any], path: bytes = b"") -> bytes:
    """Return all that a client is sent that asks for a WebSocket, and then for a page, on one connection."""
    errors = io.StringIO()
    with live_server(application, wsgi_websocket=True, log=None, error_log=errors) as url:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), 20) as client, suppress(ConnectionError):
            client.sendall(HANDSHAKE % path + LAST)
            received = b""
            while piece := client.recv(65536):
                received += piece
    return received


@pytest.mark.parametrize("name", ["wsgi.websocket", "geventwsgi.socket"])
def test_a_response_that_has_begun_stays_one(name: str) -> None:
    refused = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/last":
            return [b"last"]
        taken = environ[name]

        receive = getattr(taken, "receive", None) or partial(taken.recv, 1)

        def pieces() -> Iterator[bytes]:
            yield b"one"
            for use in (partial(taken.send, b"x"), receive):
                with pytest.raises((WebSocketError, ResponseError)) as raised:
                    use()
                refused.append(str(raised.value))
            taken.close()
            yield b"two"

        return pieces()

    received = answered(application)
    assert b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\nHTTP/1.1 200 OK" in received
    assert received.endswith(b"last")
    assert [text.partition(":")[0] for text in refused] == ["the response has begun"] * 2


def test_another_greenlet_does_not_open_it_in_the_midst_of_a_response() -> None:
    outcomes = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/last":
            return [b"last"]
        websocket = environ["wsgi.websocket"]

        def pieces() -> Iterator[bytes]:
            yield b"one"
            other = gevent.spawn(raises, WebSocketError, websocket.send, "x")
            other.join()
            outcomes.append((other.value, websocket.closed))
            yield b"two"

        return pieces()

    assert b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\nHTTP/1.1 200 OK" in answered(application)
    assert outcomes == [(True, True)]


@pytest.mark.parametrize("body", [[b"no"], (b"no",)], ids=["a list", "a tuple"])
def test_a_refusal_of_one_piece_has_its_length(body: Any) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("401 Unauthorized" if environ["PATH_INFO"] != "/last" else "200 OK", [])
        return body

    head, _, rest = answered(application).partition(b"\r\n\r\n")
    assert b"Content-Length: 2" in head
    assert rest.startswith(b"noHTTP/1.1 200")


def test_a_refusal_keeps_nothing_of_the_request() -> None:
    environs = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        environs.append(environ)
        start_response("401 Unauthorized", [])
        return [b"no"]

    answered(application)
    assert ["wsgi.websocket" in environ for environ in environs] == [False, False]
