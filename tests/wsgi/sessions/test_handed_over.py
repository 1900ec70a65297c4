"""A WebSocket that was left to a handler goes on in another worker."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from geventwsgi.events import Channel, subscribe
from geventwsgi.websocket.deflate import agree
from geventwsgi.websocket.framing import CONTINUATION
from geventwsgi.wsgi.held import Line
from geventwsgi.wsgi.named import unpacked
from geventwsgi.wsgi.sessions.handled import HandledWebSocket
from geventwsgi.wsgi.sessions.session import NO_PINGS, PingTimes, WebSocketError
from tests.support.websocket import TEXT, frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from geventwsgi.websocket.framing import FrameReader


class Everything(Line):
    """A connection that takes everything."""

    def __init__(self) -> None:
        self.sent = b""

    def send(self, data: bytes) -> None:
        self.sent += data

    def nothing(self, *_: object) -> None:
        pass

    make_room = take_turn = give_turn = breathe = wake = rouse = end_within = nothing


class Echo:
    """Has no attributes."""

    def on_message(self, ws: HandledWebSocket, message: str) -> None:
        ws.send(message)


class Counting:
    """Takes what it has counted along."""

    def __init__(self) -> None:
        self.count = 0
        self.calls: list[str] = []

    def on_open(self, ws: HandledWebSocket) -> None:
        self.calls.append("open")

    def on_message(self, ws: HandledWebSocket, message: str) -> None:
        self.count += 1
        ws.send(str(self.count))

    def on_close(self, ws: HandledWebSocket, code: int, reason: str) -> None:
        self.calls.append("close")

    def on_handover(self, ws: HandledWebSocket) -> int:
        self.calls.append("handover")
        return self.count

    def on_takeover(self, ws: HandledWebSocket, state: int) -> None:
        self.calls.append("takeover")
        self.count = state


class Attributes:
    """Has attributes that would be lost."""

    def __init__(self) -> None:
        self.count = 0

    def on_message(self, ws: HandledWebSocket, message: str) -> None:
        self.count += 1


class Unfit(Echo):
    def on_handover(self, ws: HandledWebSocket) -> object:
        return object()


def opened(
    handler: Any, *, data: Any = None, deflate: Any = None, reader: FrameReader | None = None,
    pings: PingTimes = NO_PINGS,
) -> tuple[HandledWebSocket, Everything]:  # fmt: skip
    ws, line = HandledWebSocket(handler, data, "/path", None, "chat", 1000, deflate, reader, pings), Everything()
    ws.attach(line)
    while ws.step():
        pass
    return ws, line


def elsewhere(ws: HandledWebSocket) -> tuple[HandledWebSocket, Everything]:
    """Return what goes on in another worker; it gets nothing but JSON text."""
    unread = ws.unread()
    packed = ws.pack()
    assert packed is not None
    ws.detach()
    moved, line = unpacked(json.loads(json.dumps(packed))), Everything()
    moved.attach(line)
    while moved.step():
        pass
    if unread:
        hear(moved, unread)
    return moved, line


def hear(ws: HandledWebSocket, data: bytes) -> None:
    ws.feed(data)
    while ws.step():
        pass


def say(ws: HandledWebSocket, text: str) -> None:
    hear(ws, frame(TEXT, text.encode()))


@pytest.fixture
def channel() -> Iterator[Channel]:
    with Channel("handed over") as made:
        yield made


def test_a_handler_without_attributes_is_made_anew() -> None:
    moved, line = elsewhere(opened(Echo())[0])
    say(moved, "a")
    assert line.sent == b"\x81\x01a"


def test_a_handler_takes_along_what_it_wants() -> None:
    handler = Counting()
    ws, _ = opened(handler)
    say(ws, "a")
    moved, line = elsewhere(ws)
    say(moved, "b")
    assert line.sent == b"\x81\x012"
    assert handler.calls == ["open", "handover"]
    assert moved.handler.calls == ["takeover"]


def test_it_knows_what_it_knew() -> None:
    moved, _ = elsewhere(opened(Echo(), data={"user": 3}, pings=PingTimes(30, 10))[0])
    assert (moved.path, moved.protocol, moved.data, moved.pings) == ("/path", "chat", {"user": 3}, (30, 10))


def test_its_channel_goes_on_with_the_next_message(channel: Channel) -> None:
    ws, _ = opened(Echo())
    ws.subscribe(channel)
    channel.publish(1)
    assert ws.take() == b"\x81\x011"
    moved, _ = elsewhere(ws)
    channel.publish(2)
    assert (moved.take(), moved.take()) == (b"\x81\x012", None)


def test_a_subscription_to_several_channels_goes_on(channel: Channel) -> None:
    with Channel("another") as other:
        ws, _ = opened(Echo())
        ws.subscribe(subscribe([channel, other]))
        moved, _ = elsewhere(ws)
        channel.publish(1)
        other.publish(2)
        assert moved.take() in {b"\x81\x011\x81\x012", b"\x81\x012\x81\x011"}


def test_its_channels_can_be_unsubscribed_from_there(channel: Channel) -> None:
    ws, _ = opened(Echo())
    ws.subscribe(channel)
    moved, _ = elsewhere(ws)
    moved.unsubscribe(Channel("handed over"))
    channel.publish(1)
    assert moved.take() is None


def test_nothing_more_is_sent_here() -> None:
    ws, line = opened(Echo())
    elsewhere(ws)
    with pytest.raises(WebSocketError):
        ws.send("late")
    assert line.sent == b""


def test_compression_goes_on() -> None:
    offer = "permessage-deflate; client_max_window_bits=10; server_max_window_bits=11; client_no_context_takeover"
    ws, _ = opened(Echo(), deflate=agree(offer))
    ws.send("x" * 100)
    moved, line = elsewhere(ws)
    moved.send("x" * 100)
    assert line.sent[0] == 0xC1  # the last frame of a text, compressed
    packed = moved.pack()
    assert packed is not None
    assert packed[1]["deflate"] == agree(offer).answer


def test_it_stays_while_the_client_may_refer_to_what_it_has_sent() -> None:
    deflate = agree("permessage-deflate")
    assert deflate is not None
    ws, _ = opened(Echo(), deflate=deflate)
    client = zlib.compressobj(wbits=-15)
    deflate.inflate(client.compress(b"abc") + client.flush(zlib.Z_SYNC_FLUSH)[:-4], 100, last=True)
    assert ws.pack() is None


@pytest.mark.parametrize("handler", [Attributes(), type("Local", (), {"on_message": None})()])
def test_a_handler_that_cannot_be_made_anew_stays(handler: Any) -> None:
    ws, _ = opened(handler)
    assert ws.pack() is None
    assert not ws.closed


def test_one_with_data_that_json_cannot_represent_stays() -> None:
    assert opened(Echo(), data=object())[0].pack() is None


def test_one_whose_channel_has_a_function_without_a_name_stays(channel: Channel) -> None:
    ws, _ = opened(Echo())
    ws.subscribe(channel, encode=lambda message: message.text)
    assert ws.pack() is None


def test_one_that_is_closed_stays() -> None:
    ws, _ = opened(Echo())
    ws.close()
    assert ws.pack() is None


def test_a_number_is_no_reason() -> None:
    ws, _ = opened(Echo())
    with pytest.raises(TypeError, match="bytes-like"):
        ws.close(1000, 10**10)  # type: ignore[arg-type]


def test_it_goes_on_in_the_midst_of_a_message() -> None:
    ws, _ = opened(Echo())
    data = frame(TEXT, "äb".encode(), fin=False) + frame(CONTINUATION, b"cd")
    hear(ws, data[:-1])
    moved, line = elsewhere(ws)
    hear(moved, data[-1:])
    assert line.sent == b"\x81\x05" + "äbcd".encode()


def test_it_stays_in_the_midst_of_a_compressed_message() -> None:
    ws, _ = opened(Echo(), deflate=agree("permessage-deflate; client_no_context_takeover"))
    client = zlib.compressobj(wbits=-15)
    data = frame(TEXT, client.compress(b"abc") + client.flush(zlib.Z_SYNC_FLUSH)[:-4], rsv=4)
    hear(ws, data[:-1])
    assert (ws.must_finish(), ws.unread(), ws.pack()) == (True, b"", None)
    hear(ws, data[-1:])
    assert not ws.must_finish()
    assert ws.pack() is not None


def test_a_state_that_json_cannot_represent_is_told() -> None:
    ws, _ = opened(Unfit())
    with pytest.raises(TypeError, match=r"Unfit\.on_handover returned what JSON cannot represent"):
        ws.pack()
    assert not ws.closed


class Failing(Echo):
    def __init__(self) -> None:
        self.asked = 0

    def on_handover(self, ws: HandledWebSocket) -> None:
        self.asked += 1
        raise ValueError("not today")

    def on_takeover(self, ws: HandledWebSocket, state: None) -> None:
        pass


def test_a_handler_that_has_failed_at_its_handover_is_not_asked_again() -> None:
    handler = Failing()
    ws, line = opened(handler)
    with pytest.raises(ValueError, match="not today"):
        ws.pack()
    say(ws, "a")
    assert ws.pack() is None
    assert (handler.asked, line.sent) == (1, b"\x81\x01a")
