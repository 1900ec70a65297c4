"""Early hints and trailers: who gets them, when, and what they may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from geventwsgi.errors import ResponseError
from tests.support.servers import GET, read_all, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLOSE = GET[:-2] + b"Connection: close\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
LINK = ("Link", "</style.css>; rel=preload; as=style")
Body = list[bytes]


class TestEarlyHints:
    @staticmethod
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Body:
        environ["wsgi.early_hints"]([LINK])
        environ["wsgi.early_hints"]([("Link", "</b>; rel=preload")])
        write = start_response("200 OK", [("Content-Length", "5")])
        write(b"hel")
        environ["wsgi.early_hints"]([LINK])
        return [b"lo"]

    def test_they_leave_before_the_response__rfc8297(self) -> None:
        with running(self.app) as server:
            answer = read_all(server.connect(CLOSE))
        first, second, head, body = answer.split(b"\r\n\r\n")
        assert first == b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style"
        assert second == b"HTTP/1.1 103 Early Hints\r\nLink: </b>; rel=preload"
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == b"hello"

    def test_http_1_0_has_none__rfc9110_15_2(self) -> None:
        with running(self.app) as server:
            assert read_all(server.connect(OLD)).startswith(b"HTTP/1.1 200 OK\r\n")

    @pytest.mark.parametrize(
        "field", [("Li nk", "x"), ("Link", "a\r\nSet-Cookie: b"), ("Content-Length", "5"), ("TE", "x")]
    )
    def test_a_malformed_field_never_leaves(self, field: tuple[str, str]) -> None:
        errors: list[BaseException] = []

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Body:
            try:
                environ["wsgi.early_hints"]([field])
            except ResponseError as error:
                errors.append(error)
            start_response("200 OK", [])
            return [b"hello"]

        with running(app) as server:
            assert read_all(server.connect(CLOSE)).startswith(b"HTTP/1.1 200 OK\r\n")
        assert len(errors) == 1


def asking(te: str) -> bytes:
    return CLOSE[:-2] + f"TE: {te}\r\n\r\n".encode()


class TestTrailers:
    @staticmethod
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        send = environ.get("geventwsgi.send_trailers")
        if send and environ["QUERY_STRING"] != "late":
            send([("Checksum", "abc")])
        start_response("200 OK", [])
        yield b"hello"
        if send:
            send([("Took", "5")])

    @pytest.mark.parametrize("te", ["trailers", "gzip;q=0.5, Trailers", "trailers;q=1"])
    def test_they_follow_the_last_chunk_and_are_announced__rfc9112_7_1_2(self, te: str) -> None:
        with running(self.app) as server:
            head, _, body = read_all(server.connect(asking(te))).partition(b"\r\n\r\n")
        assert b"\r\nTrailer: Checksum" in head
        assert body == b"5\r\nhello\r\n0\r\nChecksum: abc\r\nTook: 5\r\n\r\n"

    def test_late_ones_are_not_announced_but_sent(self) -> None:
        with running(self.app) as server:
            answer = read_all(server.connect(asking("trailers").replace(b"GET /", b"GET /?late")))
        assert b"Trailer" not in answer
        assert answer.endswith(b"0\r\nTook: 5\r\n\r\n")

    @pytest.mark.parametrize("request_", [CLOSE, asking("gzip"), OLD[:-2] + b"TE: trailers\r\n\r\n"])
    def test_who_does_not_take_them_gets_none__rfc9110_6_5_1(self, request_: bytes) -> None:
        with running(self.app) as server:
            answer = read_all(server.connect(request_))
        assert b"Checksum" not in answer
        assert b"hello" in answer

    def test_each_request_of_a_connection_is_asked_anew(self) -> None:
        with running(self.app) as server:
            first = asking("trailers").replace(b"Connection: close\r\n", b"")
            answer = read_all(server.connect(first + CLOSE))
        assert answer.count(b"Checksum: abc") == 1
        assert answer.endswith(b"5\r\nhello\r\n0\r\n\r\n")

    def test_with_a_length_there_is_no_place_for_them(self) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Body:
            environ["geventwsgi.send_trailers"]([("Checksum", "abc")])
            start_response("200 OK", [])
            return [b"hello"]

        with running(app) as server:
            assert read_all(server.connect(asking("trailers"))).endswith(b"\r\n\r\nhello")

    @pytest.mark.parametrize("field", [("Content-Length", "5"), ("Content-Type", "x"), ("a b", "c"), ("a", "b\nc")])
    def test_what_must_come_before_the_body_or_is_malformed_is_refused__rfc9110_6_5_1(
        self, field: tuple[str, str]
    ) -> None:
        errors: list[BaseException] = []

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
            start_response("200 OK", [])
            yield b"hello"
            try:
                environ["geventwsgi.send_trailers"]([field])
            except ResponseError as error:
                errors.append(error)

        with running(app) as server:
            assert read_all(server.connect(asking("trailers"))).endswith(b"hello\r\n0\r\n\r\n")
        assert len(errors) == 1
