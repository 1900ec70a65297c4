"""The client of the echo rows, against our own server."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from geventwsgi.testing import live_server
from tests.benchmarks.echo import KEY, check_echo, echo, frame, opened
from tests.benchmarks.measured.benchapp import app
from tests.benchmarks.rows import handshake
from tests.benchmarks.servers import LeftOutError
from tests.support import websocket


@pytest.mark.parametrize("size", [0, 125, 126, 16384])
def test_its_frames_are_those_of_the_tests(size: int) -> None:
    message = bytes(97 + index % 26 for index in range(size))
    assert frame(message, KEY) == websocket.frame(websocket.TEXT, message, mask=KEY)
    assert frame(message) == websocket.frame(websocket.TEXT, message, mask=None)


@pytest.mark.parametrize("message", [b"x" * 64, b"x" * 16384])
def test_counts_messages_and_their_time(message: bytes) -> None:
    with (
        live_server(app, wsgi_websocket=True) as url,
        opened(urlsplit(url).port or 0, 3, handshake("/echo")) as sockets,
    ):
        check_echo(sockets[0], message)
        found = echo(sockets, message, 0.1)
    assert found.requests >= 6
    assert 0 < found.p50 <= found.p99


def test_a_server_without_websockets_is_left_out() -> None:
    with (
        live_server(app) as url,
        pytest.raises(LeftOutError, match="does not open a WebSocket"),
        opened(urlsplit(url).port or 0, 1, handshake("/echo")),
    ):
        pass


def test_a_wrong_echo_is_noticed() -> None:
    def upper(environ, start_response):
        websocket = environ["wsgi.websocket"]
        websocket.send(websocket.receive().upper())
        return []

    with (
        live_server(upper, wsgi_websocket=True) as url,
        opened(urlsplit(url).port or 0, 1, handshake("/echo")) as sockets,
        pytest.raises(LeftOutError, match="echoes wrongly"),
    ):
        check_echo(sockets[0], b"x")
