"""The opening handshake by itself."""

from __future__ import annotations

import pytest

from geventwsgi.websocket import handshake

REQUEST = {
    "REQUEST_METHOD": "GET",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_a_request_without_fault() -> None:
    assert handshake.fault(REQUEST) == ""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"REQUEST_METHOD": "POST"}, "a WebSocket begins with GET"),
        ({"HTTP_SEC_WEBSOCKET_VERSION": "8"}, "Sec-WebSocket-Version is 13 here"),
        ({"HTTP_SEC_WEBSOCKET_KEY": "YQ=="}, "Sec-WebSocket-Key is not 16 bytes in base64"),
        ({"HTTP_SEC_WEBSOCKET_KEY": "é"}, "Sec-WebSocket-Key is not ASCII"),
        ({"HTTP_SEC_WEBSOCKET_PROTOCOL": "é"}, "Sec-WebSocket-Protocol is not ASCII"),
        ({"HTTP_SEC_WEBSOCKET_EXTENSIONS": "é"}, "Sec-WebSocket-Extensions is not ASCII"),
    ],
)
def test_each_fault_is_named(changed: dict[str, str], said: str) -> None:
    assert handshake.fault({**REQUEST, **changed}) == said


def test_the_answer_to_the_example_of_rfc6455_1_3() -> None:
    answer = handshake.accept(REQUEST["HTTP_SEC_WEBSOCKET_KEY"], None, "")
    assert answer == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


def test_the_answer_names_what_was_agreed_on() -> None:
    answer = handshake.accept(REQUEST["HTTP_SEC_WEBSOCKET_KEY"], "chat", "permessage-deflate")
    assert answer.endswith(b"\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
