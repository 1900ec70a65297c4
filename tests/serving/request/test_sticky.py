"""The cookie that leads back to a worker, and what is learned from responses."""

from __future__ import annotations

from typing import Any

import pytest

from geventwsgi.serving.request.sticky import Learns, SetsCookie


class Tokens:
    """Two workers, of which this is the first."""

    own: str | None = "aaa"

    def own_token(self) -> str | None:
        return self.own

    def by_token(self, token: str) -> object | None:
        return 1 if token in ("aaa", "bbb") else None


def call(application: Any, **environ: Any) -> tuple[list[tuple[str, str]], Any]:
    """Return the header fields and the body of a response."""
    found: list[Any] = []

    def start_response(_status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        found.append((headers, exc_info))

    body = application({"wsgi.url_scheme": "http", **environ}, start_response)
    return found[-1][0], body


FIELDS = [("Content-Type", "text/plain")]


def application(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", FIELDS)
    return [b"hello"]


def cookies(headers: list[tuple[str, str]]) -> list[str]:
    return [value for name, value in headers if name == "Set-Cookie"]


@pytest.mark.parametrize(
    ("cookie", "is_set"),
    [
        (None, True), ("", True), ("other=1", True), ("seat=ccc", True), ("seat=bbb", False), ("seat=aaa", False),
        ("a=1; seat=aaa", False), ("xseat=aaa", True), ("a=seat=; seat=bbb", False),
    ],
)  # fmt: skip
def test_the_cookie_is_set_where_none_leads_to_a_worker(cookie: str | None, is_set: bool) -> None:
    sets = SetsCookie(application, "seat", Tokens())
    environ = {} if cookie is None else {"HTTP_COOKIE": cookie}
    expected = ["seat=aaa; Path=/; HttpOnly; SameSite=Lax"] if is_set else []
    headers, body = call(sets, **environ)
    assert cookies(headers) == expected
    assert body == [b"hello"]
    assert FIELDS == [("Content-Type", "text/plain")]


def test_over_https_it_is_secure() -> None:
    headers, _ = call(SetsCookie(application, "seat", Tokens()), **{"wsgi.url_scheme": "https"})
    assert cookies(headers) == ["seat=aaa; Path=/; HttpOnly; SameSite=Lax; Secure"]


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

    def cached(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X", "public"), *(("cache-control", value) for value in caching)])
        return []

    headers, _ = call(SetsCookie(cached, "seat", Tokens()))
    assert len(cookies(headers)) == is_set


def test_a_worker_that_leaves_sets_none() -> None:
    tokens = Tokens()
    tokens.own = None
    headers, _ = call(SetsCookie(application, "seat", tokens))
    assert cookies(headers) == []


def test_a_replaced_head_has_it_too() -> None:
    def fails(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response("500 Oh", [("X", "y")], ("type", "value", "traceback"))
        return []

    headers, _ = call(SetsCookie(fails, "seat", Tokens()))
    assert headers[0] == ("X", "y")
    assert len(cookies(headers)) == 1


def learns(result: Any, headers: list[tuple[str, str]] | None = None, name: str = "sid") -> tuple[Learns, list[str]]:
    learned: list[str] = []

    def application(_environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", headers or [])
        return result

    return Learns(application, name, learned.append, handshakes=name == "sid"), learned


def test_a_field_of_the_response_is_learned() -> None:
    made, learned = learns([b""], [("MCP-Session-ID", "abc"), ("Other", "x")], "mcp-session-id")
    call(made)
    assert learned == ["abc"]


def test_a_very_long_one_is_not() -> None:
    made, learned = learns([b""], [("Mcp-Session-Id", "x" * 257)], "mcp-session-id")
    call(made)
    assert learned == []


HANDSHAKES = [
    b'0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000}',
    b'97:0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":[]}2:40',
    b'\x00\x09\x07\xff0{"sid":"lv_VI97HAXpY6yYWAAAC"}',
    b'___eio[0]("0{\\"sid\\":\\"lv_VI97HAXpY6yYWAAAC\\"}");',
]


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
    _, result = call(made, QUERY_STRING="EIO=4&transport=polling")
    assert learned == ["lv_VI97HAXpY6yYWAAAC"]
    assert result == [body]


@pytest.mark.parametrize("query", ["EIO=4&userssid=1", "ssid=x&EIO=4&t=sid=", "EIO=4&sid="])
def test_so_it_is_if_other_parameters_have_similar_names(query: str) -> None:
    made, learned = learns([HANDSHAKES[0]])
    call(made, QUERY_STRING=query)
    assert learned == ["lv_VI97HAXpY6yYWAAAC"]


def test_so_it_is_in_a_body_that_is_no_list() -> None:
    body = Closing(b"", HANDSHAKES[0], b"x")
    made, learned = learns(body)
    _, result = call(made, QUERY_STRING="EIO=4&transport=polling")
    assert list(result) == [b"", HANDSHAKES[0], b"x"]
    result.close()
    assert body.closed
    assert learned == ["lv_VI97HAXpY6yYWAAAC"]


@pytest.mark.parametrize("query", ["", "EIO=4&transport=polling&sid=x", "a=1"])
def test_no_other_body_is_looked_at(query: str) -> None:
    made, learned = learns([HANDSHAKES[0]])
    call(made, QUERY_STRING=query)
    assert learned == []
    body = Closing()
    made, _ = learns(body)
    assert call(made, QUERY_STRING=query)[1] is body
