"""Frames by themselves; the rules that a client sees are tested in tests/wire/test_rfc6455.py."""

from __future__ import annotations

import tracemalloc
import zlib
from typing import Any

import pytest

from geventwsgi.websocket import framing
from geventwsgi.websocket.deflate import MessageDeflate
from geventwsgi.websocket.framing import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    RSV1,
    TEXT,
    Control,
    FrameError,
    FrameReader,
    close_payload,
    parse_close,
)
from tests.support.websocket import frame


def read_all(reader: FrameReader, data: bytes) -> list[Any]:
    """Return what comes of ``data``, None for a step without a message."""
    reader.feed(data)
    events = []
    while not reader.hungry:
        events.append(reader.read())
    return events


def refusal(data: bytes, **options: Any) -> FrameError:
    with pytest.raises(FrameError) as raised:
        read_all(FrameReader(**options), data)
    return raised.value


def test_a_message_is_of_its_type() -> None:
    events = read_all(FrameReader(), frame(TEXT, b"a") + frame(BINARY, b"a") + frame(TEXT) + frame(BINARY))
    assert events == ["a", b"a", "", b"", None]
    assert [type(event) for event in events[:4]] == [str, bytes, str, bytes]


def test_a_control_frame_comes_between_fragments() -> None:
    reader = FrameReader()
    _, ping, message, _ = read_all(
        reader, frame(TEXT, b"a", fin=False) + frame(PING, b"now") + frame(CONTINUATION, b"b")
    )
    assert isinstance(ping, Control)
    assert (ping.opcode, ping.payload, message) == (PING, b"now", "ab")


def test_one_step_reads_one_frame() -> None:
    """So the caller may let others have their turn, however many frames there are."""
    events = read_all(FrameReader(), frame(TEXT, fin=False) + frame(CONTINUATION, b"x", fin=False) * 1000)
    assert events == [None] * 1002


def test_one_step_inflates_a_bounded_part() -> None:
    compressor = zlib.compressobj(wbits=-15)
    data = compressor.compress(bytes(10 << 20)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    deflate = MessageDeflate({})
    sizes: list[int] = []
    inflate = deflate.inflate
    deflate.inflate = lambda *arguments, **options: sizes_of(inflate(*arguments, **options), sizes)
    events = read_all(FrameReader(0, deflate), frame(BINARY, data[:-4], rsv=4))
    assert sum(sizes) == 10 << 20
    assert max(sizes) == 1 << 16
    assert [event for event in events if event is not None] == [bytes(10 << 20)]


def sizes_of(data: bytes, sizes: list[int]) -> bytes:
    sizes.append(len(data))
    return data


@pytest.mark.parametrize("left", [b"", frame(TEXT, b"two"), frame(TEXT, b"two")[:5]])
def test_another_reader_can_go_on_with_what_was_not_read(left: bytes) -> None:
    reader = FrameReader()
    reader.feed(frame(TEXT, b"one") + left)
    assert reader.read() == "one"
    assert reader.unread() == left


LONG = frame(BINARY, bytes(70000))
FRAGMENTS = frame(TEXT, "é".encode(), fin=False) + frame(PING, b"now") + frame(CONTINUATION, "ê!".encode())
#: Messages whose parts another reader can go on with.
PARTED = [
    frame(TEXT, "naïveté".encode(), mask=b"\5\6\7\x08") + frame(TEXT, b"two"),
    FRAGMENTS,
    frame(BINARY, b"", fin=False) + frame(CONTINUATION, bytes(range(200)), fin=False) + frame(CONTINUATION),
]


def events_of(events: list[Any]) -> list[Any]:
    return [
        (event.opcode, event.payload) if isinstance(event, Control) else event for event in events if event is not None
    ]


@pytest.mark.parametrize("data", PARTED)
def test_another_reader_can_go_on_at_any_byte(data: bytes) -> None:
    whole = events_of(read_all(FrameReader(300), data))
    for cut in range(1, len(data)):
        reader, other = FrameReader(300), FrameReader(300)
        events = read_all(reader, data[:cut])
        assert not reader.must_finish()
        events += read_all(other, reader.unread() + data[cut:])
        assert events_of(events) == whole, cut


def test_another_reader_can_go_on_in_the_midst_of_a_long_frame() -> None:
    reader, other = FrameReader(70000), FrameReader(70000)
    assert set(read_all(reader, LONG[:101])) == {None}
    assert events_of(read_all(other, reader.unread() + LONG[101:])) == [bytes(70000)]


def test_another_reader_can_go_on_with_what_another_has_gone_on_with() -> None:
    data, left = FRAGMENTS, b""
    for at in range(len(data) - 1):
        reader = FrameReader()
        read_all(reader, left + data[at : at + 1])
        left = reader.unread()
    assert events_of(read_all(FrameReader(), left + data[-1:])) == ["éê!"]


def test_a_message_of_which_much_has_come_must_finish_here() -> None:
    reader = FrameReader()
    read_all(reader, LONG[: framing.LONGEST_PART + 15])
    assert reader.must_finish()
    read_all(reader, LONG[framing.LONGEST_PART + 15 :])
    assert not reader.must_finish()


def test_a_compressed_message_must_finish_here() -> None:
    compressor = zlib.compressobj(wbits=-15)
    data = frame(TEXT, compressor.compress(b"abc") + compressor.flush(zlib.Z_SYNC_FLUSH)[:-4], rsv=4)
    reader = FrameReader(0, MessageDeflate({}))
    read_all(reader, data[:-1])
    assert reader.must_finish()
    assert "abc" in read_all(reader, data[-1:])
    assert not reader.must_finish()


def test_what_was_read_is_not_kept() -> None:
    reader = FrameReader(1 << 20)
    grown = []
    tracemalloc.start()
    try:
        for _ in range(10):
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(100):
                read_all(reader, frame(BINARY, bytes(1000)) + frame(PING, bytes(100)) + b"\x82")
                read_all(reader, b"\x80\0\0\0\0")
            grown.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    assert min(grown) < 2000  # others, such as coverage, allocate now and then


@pytest.mark.parametrize(
    "data",
    [frame(BINARY, bytes(101)), frame(BINARY, bytes(100), fin=False) + frame(CONTINUATION, b"x", fin=False)],
    ids=["one frame", "fragments"],
)
def test_a_message_that_is_too_large_is_refused_by_its_head(data: bytes) -> None:
    """Not one byte of its payload has come."""
    size = len(data) - 101 if len(data) < 110 else len(data) - 1
    assert refusal(data[:size], max_size=100).code == 1009


def test_a_bomb_is_refused_at_the_limit() -> None:
    compressor = zlib.compressobj(wbits=-15)
    data = compressor.compress(bytes(100 << 20)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    tracemalloc.start()
    try:
        assert refusal(frame(BINARY, data, rsv=4), max_size=1 << 20, deflate=MessageDeflate({})).code == 1009
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_the_largest_limit_that_there_is() -> None:
    reader = FrameReader(2**63 - 1, MessageDeflate({}))
    compressor = zlib.compressobj(wbits=-15)
    data = compressor.compress(b"hello") + compressor.flush(zlib.Z_SYNC_FLUSH)
    assert read_all(reader, frame(TEXT, b"hello") + frame(TEXT, data[:-4], rsv=4))[:2] == ["hello", "hello"]


@pytest.mark.parametrize("data", [b"\xff", b"\xed\xa0", b"\xf4\x90", b"\xc0", b"\xf8", b"\xe0\x80"])
def test_text_is_refused_at_its_first_wrong_byte(data: bytes) -> None:
    """Whatever else is to come of the frame."""
    good, reader = "κόσμε".encode() + data[:-1], FrameReader()
    whole = frame(TEXT, good + data[-1:] + bytes(100))
    at = len(whole) - 100
    assert read_all(reader, whole[: at - 1]) == [None, None]
    with pytest.raises(FrameError) as raised:
        read_all(reader, whole[at - 1 : at])
    assert raised.value.code == 1007


def test_each_fault_has_its_reason() -> None:
    cases = [
        (frame(3), "unknown opcode 3"),
        (frame(TEXT, rsv=1), "a reserved bit is set"),
        (frame(TEXT, rsv=4), "RSV1 is set where no compressed message begins"),
        (frame(TEXT, mask=None), "a client's frame is not masked"),
        (frame(PING, bytes(126)), "a control frame is fragmented or too long"),
        (frame(CONTINUATION), "a fragment is out of place"),
        (frame(TEXT, b"\xff"), "text is not UTF-8"),
        (frame(CLOSE, b"\x03\xe8\xff"), "the reason of a close frame is not UTF-8"),
        (frame(CLOSE, b"\x03\xed"), "a close frame has no status code that may be sent"),
        (b"\x82\xfe\0\x05\0\0\0\0", "a length is not in its shortest form, or has 64 bits"),
        (b"\x82\xff" + b"\xff" * 8 + bytes(4), "a length is not in its shortest form, or has 64 bits"),
    ]
    for data, reason in cases:
        assert refusal(data).reason == reason
    assert refusal(frame(TEXT, bytes(11)), max_size=10).reason == "a message is larger than 10 bytes"


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\0"), (1, b"\x81\x01"), (125, b"\x81\x7d"), (126, b"\x81\x7e\0\x7e"), (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\0\0\0\0\0\x01\0\0"),
    ],
)  # fmt: skip
def test_a_servers_frame(size: int, head: bytes) -> None:
    assert framing.frame(TEXT, bytes(size)) == head + bytes(size)
    assert framing.frame(TEXT, bytes(size), FIN | RSV1)[1:] == head[1:] + bytes(size)
    assert framing.frame(TEXT, bytes(size), FIN | RSV1)[0] == 0xC1


def test_a_close_has_its_code_and_reason() -> None:
    assert parse_close(close_payload(1000, "bye")) == (1000, "bye")
    assert parse_close(close_payload(4999)) == (4999, "")
    assert parse_close(b"") == (1005, "")


@pytest.mark.parametrize("code", [1005, 1006, 1015])
def test_a_code_that_is_never_sent_leaves_a_close_empty(code: int) -> None:
    assert close_payload(code, "reason") == b""


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1016, 2999, 5000, 70000])
def test_a_code_that_is_none_is_an_error(code: int) -> None:
    with pytest.raises(ValueError, match=f"a close code of {code}: pass 1000"):
        close_payload(code)


def test_a_long_reason_is_cut_between_two_characters() -> None:
    assert parse_close(close_payload(1000, "x" + "é" * 100)) == (1000, "x" + "é" * 61)
    assert len(close_payload(1000, "é" * 100)) == 2 + 122
