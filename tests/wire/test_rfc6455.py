"""RFC 6455, WebSocket, and RFC 7692, its compression: what a server must do, by ``environ["wsgi.websocket"]``."""

from __future__ import annotations

import base64
import os
import zlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from geventwsgi.testing import live_server
from tests.support.conformance import conforms
from tests.support.fullapps.gevent_websocket_app import application
from tests.support.websocket import BINARY, CLOSE, PING, PONG, TEXT, WebSocketClient, frame
from tests.support.wire import Wire, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Connect = Callable[..., WebSocketClient]

CONTINUATION = 0
LIMIT = 1 << 20


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with live_server(application, error_log=None, wsgi_websocket=True, websocket_max_message_size=LIMIT) as url:
        parts = urlsplit(url)
        assert parts.hostname and parts.port
        yield parts.hostname, parts.port


@pytest.fixture
def connect(address: tuple[str, int]) -> Iterator[Connect]:
    clients: list[WebSocketClient] = []

    def connected(**options) -> WebSocketClient:
        clients.append(WebSocketClient(address, "/echo", **options))
        return clients[-1]

    yield connected
    for client in clients:
        client.sock.close()


def refused(connect: Connect, data: bytes, code: int, **options) -> None:
    """Check that frames are answered with a close frame of ``code``, and with nothing before or after it."""
    client = connect(**options)
    client.sock.sendall(data)
    assert client.receive() is None
    assert client.close_code == code
    assert client.rest() == b""


def echoed(connect: Connect, data: bytes, message: str | bytes, **options) -> None:
    """Check that frames arrive as one message."""
    client = connect(**options)
    client.sock.sendall(data)
    assert client.receive() == message


def handshake(*lines: str, method: str = "GET") -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    usual = {
        "Connection": "Upgrade, close",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
    }
    given = dict(line.split(": ") for line in lines)
    fields = {**usual, **given}
    return request(f"{method} /echo HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value))


@conforms("6455 4.2.1", "The opening handshake is a GET of HTTP/1.1 or higher.", "400 for another method.")
def test_the_handshake_is_a_get__rfc6455_4_2_1(address: tuple[str, int]) -> None:
    assert Wire(address).ask(handshake(method="DELETE")).statuses == [400]


@conforms("6455 4.2.1", "Sec-WebSocket-Key decodes to 16 bytes.", "400 without one, or with another length.")
@pytest.mark.parametrize("key", ["", "YQ==", "not base64!"])
def test_the_key_has_16_bytes__rfc6455_4_2_1(address: tuple[str, int], key: str) -> None:
    assert Wire(address).ask(handshake(f"Sec-WebSocket-Key: {key}")).statuses == [400]


@conforms(
    "6455 4.2.2",
    "A server refuses a version that it does not support, and names the versions that it supports.",
    "426 with `Sec-WebSocket-Version: 13`.",
)
def test_other_versions_are_426__rfc6455_4_2_2(address: tuple[str, int]) -> None:
    reply = Wire(address).ask(handshake("Sec-WebSocket-Version: 8")).reply
    assert reply.status == 426
    assert reply.get("Sec-WebSocket-Version") == "13"


@conforms(
    "6455 4.2.2",
    "The answer is 101 with Upgrade, Connection and the key's digest.",
    "No other bytes are sent before the first frame or between frames.",
)
def test_accepts_with_the_digest_of_the_key__rfc6455_4_2_2(connect: Connect) -> None:
    client = connect()
    assert client.accepted
    lines = client.head.lower().split(b"\r\n")
    assert b"upgrade: websocket" in lines and b"connection: upgrade" in lines


@conforms(
    "6455 4.2.2",
    "A subprotocol is one of those that the client offers, or none.",
    "The application's `app_protocol` chooses; a protocol that was not offered is not sent.",
)
@pytest.mark.parametrize(("offer", "chosen"), [("chat", True), ("soap, chat", True), ("soap", False), ("", False)])
def test_chooses_an_offered_subprotocol__rfc6455_4_2_2(connect: Connect, offer: str, chosen: bool) -> None:
    client = connect(fields=(f"Sec-WebSocket-Protocol: {offer}",) if offer else ())
    assert (b"\r\nSec-WebSocket-Protocol: chat" in client.head) is chosen


@conforms(
    "6455 4.2.2",
    "An extension is accepted only if the client offers it, and unknown ones are ignored.",
    "permessage-deflate is accepted, others are not.",
)
def test_ignores_unknown_extensions__rfc6455_4_2_2(connect: Connect) -> None:
    client = connect(fields=("Sec-WebSocket-Extensions: x-unknown; a=1",))
    assert client.accepted
    assert b"Extensions" not in client.head


@conforms(
    "6455 4.1",
    "A client may send frames as soon as it has the answer.",
    "Frames that come in the same packet as the handshake, against that rule, are not lost either.",
)
def test_a_frame_in_the_segment_of_the_handshake_arrives__rfc6455_4_1(connect: Connect) -> None:
    echoed(connect, b"", "early", early=frame(TEXT, b"early"))


@conforms("6455 5.1", "A frame of a client that is not masked closes the connection.", "1002.")
def test_unmasked_frames_are_refused__rfc6455_5_1(connect: Connect) -> None:
    refused(connect, frame(TEXT, b"a", mask=None), 1002)


@conforms("6455 5.1", "A server does not mask.", "It does not.")
def test_the_server_does_not_mask__rfc6455_5_1(connect: Connect) -> None:
    client = connect()
    client.sock.sendall(frame(TEXT, b"abc"))
    data = b""
    while len(data) < 5:
        data += client.sock.recv(5 - len(data))
    assert data == b"\x81\x03abc"


@conforms(
    "6455 5.2",
    "Payload lengths have 7, 16 or 64 bits.",
    "The tests send the largest payload of one form and the smallest of the next; each arrives whole.",
)
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, LIMIT])
def test_every_form_of_length__rfc6455_5_2(connect: Connect, size: int) -> None:
    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    echoed(connect, frame(BINARY, message), message)


@conforms("6455 5.2", "A length has its shortest form.", "1002 for any other.")
@pytest.mark.parametrize("head", [b"\x82\xfe\x00\x05", b"\x82\xff\x00\x00\x00\x00\x00\x00\x00\x05"])
def test_longer_forms_of_a_length_are_refused__rfc6455_5_2(connect: Connect, head: bytes) -> None:
    refused(connect, head + b"\0\0\0\0hello", 1002)


@conforms("6455 5.2", "The most significant bit of a length of 64 bits is 0.", "1002.")
def test_lengths_have_63_bits__rfc6455_5_2(connect: Connect) -> None:
    refused(connect, b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x05\0\0\0\0", 1002)


@conforms("6455 5.2", "Reserved bits that no extension defines are 0.", "1002; RSV1 without compression included.")
@pytest.mark.parametrize("rsv", [1, 2, 4])
def test_reserved_bits_are_refused__rfc6455_5_2(connect: Connect, rsv: int) -> None:
    refused(connect, frame(TEXT, b"a", rsv=rsv), 1002)


@conforms("6455 5.2", "An unknown opcode fails the connection.", "1002.")
@pytest.mark.parametrize("opcode", [3, 7, 11, 15])
def test_unknown_opcodes_are_refused__rfc6455_5_2(connect: Connect, opcode: int) -> None:
    refused(connect, frame(opcode, b"a"), 1002)


@conforms("6455 5.4", "A message may come in fragments.", "They are joined, empty ones too.")
def test_joins_fragments__rfc6455_5_4(connect: Connect) -> None:
    pieces = frame(TEXT, b"one ", fin=False) + frame(CONTINUATION, b"", fin=False) + frame(CONTINUATION, b"message")
    echoed(connect, pieces, "one message")


@conforms("6455 5.4", "Control frames may stand between fragments.", "A ping is answered at once.")
def test_a_ping_between_fragments__rfc6455_5_4(connect: Connect) -> None:
    client = connect()
    client.sock.sendall(frame(TEXT, b"a", fin=False) + frame(PING, b"now"))
    data = b""
    while len(data) < 5:
        data += client.sock.recv(5 - len(data))
    assert data == b"\x8a\x03now"
    client.sock.sendall(frame(CONTINUATION, b"b"))
    assert client.receive() == "ab"


@conforms("6455 5.4", "A continuation frame continues a message.", "1002.")
def test_a_continuation_of_nothing_is_refused__rfc6455_5_4(connect: Connect) -> None:
    refused(connect, frame(CONTINUATION, b"a"), 1002)


@conforms("6455 5.4", "Fragments of messages are not mixed.", "1002.")
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_inside_another_is_refused__rfc6455_5_4(connect: Connect, opcode: int) -> None:
    refused(connect, frame(TEXT, b"a", fin=False) + frame(opcode, b"b"), 1002)


@conforms("6455 5.5", "Control frames have at most 125 bytes and are not fragmented.", "1002.")
@pytest.mark.parametrize("data", [frame(PING, b"x" * 126), frame(PING, b"a", fin=False), frame(CLOSE, b"", fin=False)])
def test_large_or_fragmented_control_frames_are_refused__rfc6455_5_5(connect: Connect, data: bytes) -> None:
    refused(connect, data, 1002)


@conforms(
    "6455 5.5.1",
    "A close is answered with a close, then the connection ends.",
    "The answer has the client's code; no bytes follow.",
)
@pytest.mark.parametrize(
    ("payload", "code"), [(b"", 1005), (b"\x03\xe8", 1000), (b"\x03\xe9bye", 1001), (b"\x0f\xa0", 4000)]
)
def test_answers_a_close__rfc6455_5_5_1(connect: Connect, payload: bytes, code: int) -> None:
    refused(connect, frame(CLOSE, payload), code)


@conforms("6455 5.5.1", "After a close no data is sent.", "Frames after a client's close are ignored.")
def test_nothing_after_a_close__rfc6455_5_5_1(connect: Connect) -> None:
    refused(connect, frame(CLOSE, b"\x03\xe8") + frame(TEXT, b"late"), 1000)


@conforms("6455 5.5.2", "A ping is answered by a pong with its data.", "While the application receives.")
@pytest.mark.parametrize("payload", [b"", b"x" * 125, b"\0\xff"])
def test_answers_a_ping__rfc6455_5_5_2(connect: Connect, payload: bytes) -> None:
    client = connect()
    client.sock.sendall(frame(PING, payload))
    data = b""
    while len(data) < 2 + len(payload):
        data += client.sock.recv(4096)
    assert data == bytes([0x80 | PONG, len(payload)]) + payload


@conforms("6455 5.5.3", "An unsolicited pong needs no answer.", "It gets none.")
def test_ignores_a_pong__rfc6455_5_5_3(connect: Connect) -> None:
    echoed(connect, frame(PONG, b"hello") + frame(TEXT, b"a"), "a")


@conforms("6455 5.6", "Text is UTF-8, in which a fragment may end anywhere.", "A character may be cut between frames.")
def test_a_character_may_be_cut_between_frames__rfc6455_5_6(connect: Connect) -> None:
    data = "κόσμε".encode()
    echoed(connect, frame(TEXT, data[:3], fin=False) + frame(CONTINUATION, data[3:]), "κόσμε")


@conforms("6455 8.1", "Text that is not UTF-8 fails the connection.", "1007, at the first invalid byte.")
@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"\xc0\xaf"),
        frame(TEXT, b"\xed\xa0\x80"),
        frame(TEXT, b"\xf4\x90\x80\x80"),
        frame(TEXT, b"a\xce"),
        frame(TEXT, b"\xff", fin=False),
        frame(CLOSE, b"\x03\xe8\xff"),
    ],
)
def test_text_is_utf8__rfc6455_8_1(connect: Connect, data: bytes) -> None:
    refused(connect, data, 1007)


@conforms(
    "6455 7.4.1",
    "Some close codes are never sent.",
    "1002 for those, for unknown ones below 3000, and for a code of one byte.",
)
@pytest.mark.parametrize(
    "payload", [b"\x03", *(code.to_bytes(2, "big") for code in (0, 999, 1004, 1005, 1006, 1015, 1100, 2999))]
)
def test_codes_that_are_not_for_the_wire__rfc6455_7_4_1(connect: Connect, payload: bytes) -> None:
    refused(connect, frame(CLOSE, payload), 1002)


@conforms(
    "6455 7.4.1",
    "1009 is for a message that is too big.",
    "Beyond `websocket_max_message_size`, in one frame, in many, or compressed.",
)
def test_too_big_is_1009__rfc6455_7_4_1(connect: Connect) -> None:
    refused(connect, frame(BINARY, b"x" * (LIMIT + 1)), 1009)
    refused(connect, frame(TEXT, b"x" * LIMIT, fin=False) + frame(CONTINUATION, b"x"), 1009)
    refused(connect, frame(BINARY, deflated(b"\0" * (LIMIT + 1)), rsv=4), 1009, deflate=True)


@conforms(
    "6455 7.4.1", "1011 is for a server that met a condition that it did not expect.", "When the application fails."
)
def test_a_failing_application_is_1011__rfc6455_7_4_1(address: tuple[str, int]) -> None:
    with WebSocketClient(address, "/fails") as client:
        client.send("go")
        assert (client.receive(), client.close_code) == (None, 1011)


@conforms(
    "6455 10.4",
    "A server limits the size of messages.",
    "`websocket_max_message_size` is the limit, however the frames are split.",
)
def test_many_small_fragments_are_bounded__rfc6455_10_4(connect: Connect) -> None:
    refused(connect, frame(TEXT, b"x" * 1000, fin=False) + frame(CONTINUATION, b"x" * 1000, fin=False) * 1048, 1009)


@conforms("6455 5.2", "Frames do not depend on TCP segments.", "Frames that are sent byte by byte arrive too.")
def test_byte_by_byte__rfc6455_5_2(connect: Connect) -> None:
    client = connect()
    for byte in frame(TEXT, b"a", fin=False) + frame(PONG) + frame(CONTINUATION, "ñ".encode() * 70):
        client.sock.sendall(bytes([byte]))
    assert client.receive() == "a" + "ñ" * 70


# RFC 7692


def deflated(data: bytes, bits: int = 15) -> bytes:
    """Return data as permessage-deflate has it (RFC 7692 section 7.2.1), with a window of so many bits."""
    compressor = zlib.compressobj(wbits=-bits)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


@conforms(
    "7692 7.1",
    "An offer is accepted with parameters that both sides keep.",
    "permessage-deflate is accepted, with the client's window size.",
)
def test_accepts_permessage_deflate__rfc7692_7_1(connect: Connect) -> None:
    client = connect(deflate=True)
    assert client.deflates
    for number in range(20):  # the compression of one message depends on the messages before
        client.send(f"message {number} " * 100)
        assert client.receive() == f"message {number} " * 100


@conforms(
    "7692 7.1",
    "An offer with unknown, repeated or impossible parameters is declined.",
    "The server then tries the next offer.",
)
@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("permessage-deflate; x=1", b""),
        ("permessage-deflate; server_no_context_takeover=1", b""),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", b""),
        ("permessage-deflate; server_max_window_bits=8", b""),
        ("permessage-deflate; server_max_window_bits=16", b""),
        ("permessage-deflate; client_max_window_bits=7", b""),
        ("permessage-deflate; x, permessage-deflate", b"permessage-deflate"),
        ("permessage-deflate, permessage-deflate", b"permessage-deflate"),
        ('permessage-deflate; server_max_window_bits="9"', b"permessage-deflate; server_max_window_bits=9"),
    ],
)
def test_declines_impossible_offers__rfc7692_7_1(connect: Connect, offers: str, answer: bytes) -> None:
    client = connect(fields=(f"Sec-WebSocket-Extensions: {offers}",))
    assert client.accepted
    lines = [line for line in client.head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Extensions")]
    assert lines == ([b"Sec-WebSocket-Extensions: " + answer] if answer else [])
    client.send("x" * 100)
    assert client.receive() == "x" * 100


@conforms(
    "7692 7.1.1",
    "The client may require that the server compresses each message without context.",
    "The server resets its context after each message.",
)
def test_no_context_takeover__rfc7692_7_1_1(connect: Connect) -> None:
    client = connect(fields=("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover",))
    assert b"server_no_context_takeover" in client.head
    for _ in range(3):
        client.send("again and again " * 10)
        assert client.receive() == "again and again " * 10


@conforms(
    "7692 7.1.2.2",
    "The server may limit the client's window if the client lets it.",
    "To 12 bits, or to what the client offers if that is less.",
)
@pytest.mark.parametrize(("offer", "bits"), [("", 12), ("=15", 12), ("=10", 10)])
def test_limits_the_clients_window__rfc7692_7_1_2_2(connect: Connect, offer: str, bits: int) -> None:
    client = connect(fields=(f"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits{offer}",))
    assert f"permessage-deflate; client_max_window_bits={bits}\r\n".encode() in client.head + b"\r\n"
    text = os.urandom(3000).hex().encode() * 2
    client.sock.sendall(frame(TEXT, deflated(text, bits), rsv=4))
    assert client.receive() == text.decode()


@conforms(
    "7692 6.1", "A compressed message has RSV1 in its first frame.", "Its fragments are one stream, with pings between."
)
def test_a_compressed_message_in_fragments__rfc7692_6_1(connect: Connect) -> None:
    data = deflated(b"fragments " * 100)
    pieces = frame(TEXT, data[:5], fin=False, rsv=4) + frame(PONG) + frame(CONTINUATION, data[5:])
    echoed(connect, pieces, "fragments " * 100, deflate=True)


@conforms("7692 6.1", "No other frame has RSV1.", "1002 in a continuation or a ping.")
@pytest.mark.parametrize(
    "data", [frame(TEXT, b"", fin=False, rsv=4) + frame(CONTINUATION, b"", rsv=4), frame(PING, b"", rsv=4)]
)
def test_rsv1_elsewhere_is_refused__rfc7692_6_1(connect: Connect, data: bytes) -> None:
    refused(connect, data, 1002, deflate=True)


@conforms("7692 7.2.2", "Data that cannot be decompressed fails the connection.", "1007.")
def test_broken_compression_is_refused__rfc7692_7_2_2(connect: Connect) -> None:
    refused(connect, frame(TEXT, b"\xff\xff\xff\xff", rsv=4), 1007, deflate=True)


@conforms("7692 6", "A message may be sent uncompressed although compression was agreed on.", "It arrives.")
def test_an_uncompressed_message__rfc7692_6(connect: Connect) -> None:
    echoed(connect, frame(TEXT, b"plain"), "plain", deflate=True)
