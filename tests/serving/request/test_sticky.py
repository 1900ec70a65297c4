"""The cookie that leads back to a worker, and what is learned from responses."""

from __future__ import annotations

from typing import Any

import pytest

from geventwsgi.serving.request import sticky
from geventwsgi.serving.request.sticky import Learns, LearnsHandshakes, SetsCookie
from geventwsgi.wsgi.response import LastHead, Response
from tests.support.fake_exchange import FakeExchange


class Tokens(sticky.Tokens):
    """Two workers, of which this is the first."""

    own: str | None = "aaa"

    def own_token(self) -> str | None:
        return self.own

    def by_token(self, token: str) -> tuple[int, int] | None:
        return (1, 1) if token in ("aaa", "bbb") else None


FIELDS = [("Content-Type", "text/plain")]


def exchange_of(cookie: str | None = None, scheme: str = "http") -> FakeExchange:
    field = "" if cookie is None else f"Cookie: {cookie}\n"
    return FakeExchange(f"GET / HTTP/1.1\nHost: a\n{field}", scheme=scheme)


def begun(heads: LastHead, exchange: FakeExchange, fields: list[tuple[str, str]] = FIELDS) -> list[tuple[str, str]]:
    """Return the header fields of a response."""
    response = Response(exchange, heads)
    response.start_response("200 OK", fields)
    return response.headers


def cookies(headers: list[tuple[str, str]]) -> list[str]:
    return [value for name, value in headers if name == "Set-Cookie"]


COOKIE = "seat=aaa; Path=/; HttpOnly; SameSite=Lax"


@pytest.mark.parametrize(
    ("cookie", "is_set"),
    [
        (None, True), ("", True), ("other=1", True), ("seat=ccc", True), ("seat=bbb", False), ("seat=aaa", False),
        ("a=1; seat=aaa", False), ("xseat=aaa", True), ("a=seat=; seat=bbb", False),
    ],
)  # fmt: skip
def test_the_cookie_is_set_where_none_leads_to_a_worker(cookie: str | None, is_set: bool) -> None:
    heads = SetsCookie(None, "seat", Tokens())
    for _ in range(2):
        headers = begun(heads, exchange_of(cookie))
        assert cookies(headers) == ([COOKIE] if is_set else [])
        assert headers[0] == FIELDS[0]
    assert len(FIELDS) == 1


def test_each_response_has_its_own_fields_and_cookie() -> None:
    tokens = Tokens()
    heads = SetsCookie(None, "seat", tokens)
    assert cookies(begun(heads, exchange_of())) == [COOKIE]
    assert cookies(begun(heads, exchange_of("seat=aaa"))) == []
    assert cookies(begun(heads, exchange_of(scheme="https"))) == [COOKIE + "; Secure"]
    assert cookies(begun(heads, exchange_of())) == [COOKIE]
    assert begun(heads, exchange_of(), [("X", "y")])[0] == ("X", "y")
    tokens.own = "bbb"
    assert cookies(begun(heads, exchange_of(), [("X", "y")])) == [COOKIE.replace("aaa", "bbb")]


def test_the_same_head_with_the_same_cookie_is_made_once() -> None:
    heads = SetsCookie(None, "seat", Tokens())
    one, other = (heads.head_of(exchange_of(), "200 OK", FIELDS) for _ in range(2))
    assert one is other


@pytest.mark.parametrize(
    ("caching", "is_set"),
    [
        (["public, max-age=600"], False), (["PUBLIC"], False), (["max-age=60"], False),
        (["max-age=0, s-maxage=9"], False), (["no-cache, public"], False), (["must-revalidate", "max-age=60"], False),
        (["max-age=60, private"], True), (["public, no-store"], True), (["max-age=0"], True), (["no-cache"], True),
        ([], True),
    ],
)  # fmt: skip
def test_what_a_cache_may_give_to_other_clients_has_none(caching: list[str], is_set: bool) -> None:
    """Else all of them would go to one worker, or the response would not be cached."""
    fields = [("X", "public"), *(("cache-control", value) for value in caching)]
    heads = SetsCookie(None, "seat", Tokens())
    for _ in range(2):
        assert len(cookies(begun(heads, exchange_of(), fields))) == is_set


def test_a_worker_that_leaves_sets_none() -> None:
    tokens = Tokens()
    tokens.own = None
    assert cookies(begun(SetsCookie(None, "seat", tokens), exchange_of())) == []


def test_a_replaced_head_has_it_too() -> None:
    response = Response(exchange_of(), SetsCookie(None, "seat", Tokens()))
    response.start_response("200 OK", [])
    response.start_response("500 Oh", [("X", "y")], (ValueError, ValueError(), None))
    assert response.headers == [("X", "y"), ("Set-Cookie", COOKIE)]


def test_a_field_of_the_response_is_learned_each_time() -> None:
    learned: list[str] = []
    heads = Learns(None, "mcp-session-id", learned.append)
    for _ in range(2):
        assert begun(heads, exchange_of()) == FIELDS
    assert learned == []
    named = [("MCP-Session-ID", "abc"), ("Other", "x")]
    for _ in range(2):
        assert begun(heads, exchange_of(), named) == named
    assert learned == ["abc", "abc"]
    begun(heads, exchange_of())
    begun(heads, exchange_of(), [("mcp-session-id", "def")])
    assert learned == ["abc", "abc", "def"]


def test_a_very_long_one_is_not() -> None:
    learned: list[str] = []
    begun(Learns(None, "mcp-session-id", learned.append), exchange_of(), [("Mcp-Session-Id", "x" * 257)])
    assert learned == []


HANDSHAKES = [
    b'0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000}',
    b'97:0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":[]}2:40',
    b'\x00\x09\x07\xff0{"sid":"lv_VI97HAXpY6yYWAAAC"}',
    b'___eio[0]("0{\\"sid\\":\\"lv_VI97HAXpY6yYWAAAC\\"}");',
]


def learns(result: Any) -> tuple[LearnsHandshakes, list[str]]:
    learned: list[str] = []
    return LearnsHandshakes(lambda _environ, _start_response: result, learned.append), learned


def call(application: Any, query: str) -> Any:
    return application({"QUERY_STRING": query}, lambda *_: None)


class Closing:
    """A body that is closed."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter(pieces)
        self.closed = False

    def __iter__(self) -> Any:
        return self._pieces

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("body", HANDSHAKES)
def test_a_handshake_of_engine_io_is_learned_before_the_client_has_it(body: bytes) -> None:
    made, learned = learns([body])
    result = call(made, "EIO=4&transport=polling")
    assert learned == ["lv_VI97HAXpY6yYWAAAC"]
    assert result == [body]


@pytest.mark.parametrize("query", ["EIO=4&userssid=1", "ssid=x&EIO=4&t=sid=", "EIO=4&sid="])
def test_so_it_is_if_other_parameters_have_similar_names(query: str) -> None:
    made, learned = learns([HANDSHAKES[0]])
    call(made, query)
    assert learned == ["lv_VI97HAXpY6yYWAAAC"]


def test_so_it_is_in_a_body_that_is_no_list() -> None:
    body = Closing(b"", HANDSHAKES[0], b"x")
    made, learned = learns(body)
    result = call(made, "EIO=4&transport=polling")
    assert list(result) == [b"", HANDSHAKES[0], b"x"]
    result.close()
    assert body.closed
    assert learned == ["lv_VI97HAXpY6yYWAAAC"]


@pytest.mark.parametrize("query", ["", "EIO=4&transport=polling&sid=x", "a=1"])
def test_no_other_body_is_looked_at(query: str) -> None:
    made, learned = learns([HANDSHAKES[0]])
    call(made, query)
    assert learned == []
    body = Closing()
    made, _ = learns(body)
    assert call(made, query) is body
