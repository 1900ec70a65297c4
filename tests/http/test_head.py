"""Heads: what is accepted, what is refused with which status, and that no split of the bytes changes either."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.errors import RequestError
from geventwsgi.http.head import RequestHead, parse_head
from geventwsgi.http.limits import STRICT, Leniency, Limits

if TYPE_CHECKING:
    from geventwsgi.http.fields import Fields

LIMITS = Limits(line=4094, fields=100, field_size=8190, head=65536)
SMALL = Limits(line=40, fields=3, field_size=30, head=120)
SMALLER = Limits(line=20, fields=3, field_size=18, head=60)
LENIENT = Leniency(folding=True, spaces=True, method=True, version=True, casefold=True)

GOOD = (
    b"POST /caf%C3%A9?a=1&b=%20?c HTTP/1.1\r\nHost: example.org:8080\r\nUser-Agent:tests\r\n"
    b"Accept: \t text/html \t\r\nX-Empty:\r\nContent-Length: 3\r\n\r\n"
)


def parse(data: bytes, limits: Limits = LIMITS, leniency: Leniency = STRICT) -> RequestHead:
    head = parse_head(data, limits, leniency=leniency)
    assert head is not None, "incomplete"
    return head


def request(*lines: str, start: str = "GET / HTTP/1.1", host: bool = True) -> bytes:
    """Return a head of the given field lines."""
    fields = ["Host: x", *lines] if host else list(lines)
    return "\r\n".join([start, *fields, "", ""]).encode("latin-1")


def outcome(data: bytes, limits: Limits = LIMITS, leniency: Leniency = STRICT) -> tuple[object, ...] | None:
    """Return all that a parse says, as a value that can be compared; of a refusal the status."""
    said = verdict(data, limits, leniency)
    return said[:1] if said and isinstance(said[0], int) else said


def verdict(data: bytes, limits: Limits = LIMITS, leniency: Leniency = STRICT) -> tuple[object, ...] | None:
    """Return all that a parse says, as a value that can be compared; of a refusal status and reason."""
    try:
        head = parse_head(data, limits, leniency=leniency)
    except RequestError as error:
        return (error.status, error.reason)
    if head is None:
        return None
    fields = head.fields
    return (
        head.method, head.target, head.version, head.authority, head.path, head.query, head.size, fields.items,
        fields.content_length, fields.chunked, fields.connection, fields.expect_continue, fields.host, fields.upgrade,
    )  # fmt: skip


def feed(pieces: list[bytes], limits: Limits = LIMITS, leniency: Leniency = STRICT) -> tuple[object, ...] | None:
    """Parse as a connection does: again after each piece, telling how much was seen before."""
    data, scanned = b"", 0
    for piece in pieces:
        scanned, data = len(data), data + piece
        try:
            head = parse_head(data, limits, None, scanned, leniency)
        except RequestError as error:
            return (error.status, error.reason)
        if head is not None:
            return verdict(data[: head.size], limits, leniency)
    return None


class TestRequestLine:
    def test_parts_of_a_request__rfc9112_3(self) -> None:
        head = parse(GOOD)
        assert (head.method, head.target, head.version) == ("POST", "/caf%C3%A9?a=1&b=%20?c", (1, 1))
        assert (head.path, head.query, head.authority) == ("/caf%C3%A9", "a=1&b=%20?c", None)
        assert head.size == len(GOOD)
        assert head.uri == head.target

    def test_consumes_only_the_head(self) -> None:
        assert parse(GOOD + b"abcGET / HT").size == len(GOOD)

    def test_ignores_one_empty_line_before_it__rfc9112_2_2(self) -> None:
        head = parse(b"\r\n" + GOOD)
        assert head.method == "POST"
        assert head.size == len(GOOD) + 2

    @pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
    def test_accepts_http_1__rfc9112_2_3(self, version: str) -> None:
        assert parse(request(start=f"GET / {version}")).version == (1, int(version[-1]))

    @pytest.mark.parametrize("start", ["GET / HTTP/2.0", "GET / HTTP/1.2", "GET / HTTP/0.9", "PRI * HTTP/2.0"])
    def test_refuses_other_versions_with_505__rfc9110_15_6_6(self, start: str) -> None:
        assert outcome(request(start=start)) == (505,)

    @pytest.mark.parametrize(
        "start",
        [
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET / / HTTP/1.1",
            "G@T / HTTP/1.1",
            "(GET) / HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/1.10",
            "GET / HTTP/11",
            "GET / HTTP/+1.1",
            "GET / HTTPS/1.1",
            "GET /\x00 HTTP/1.1",
            "GET /\x7f HTTP/1.1",
            "GET /caf\xe9 HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "GET a HTTP/1.1",
            "GET * HTTP/1.1",
            "GET http://u@x/ HTTP/1.1",
            "GET http:///a HTTP/1.1",
            "GET http://:80/a HTTP/1.1",
            "GET http://a b/ HTTP/1.1",
            "GET ftp://x/ HTTP/1.1",
            "GET x:80 HTTP/1.1",
            "CONNECT / HTTP/1.1",
            "CONNECT x HTTP/1.1",
            "CONNECT http://x:80/ HTTP/1.1",
            "CONNECT :80 HTTP/1.1",
            "CONNECT x: HTTP/1.1",
            "CONNECT x:0 HTTP/1.1",
            "CONNECT x:65536 HTTP/1.1",
            "CONNECT x:000080 HTTP/1.1",
            "CONNECT * HTTP/1.1",
            "OPTIONS x HTTP/1.1",
        ],
    )
    def test_refuses_malformed_lines_with_400__rfc9112_3(self, start: str) -> None:
        assert outcome(request(start=start)) == (400,)

    def test_absolute_form_gives_path_and_authority__rfc9112_3_2_2(self) -> None:
        head = parse(request(start="GET HTTP://example.org:81/a/b?c=d?e HTTP/1.1"))
        assert (head.path, head.query, head.authority) == ("/a/b", "c=d?e", "example.org:81")

    @pytest.mark.parametrize(("target", "query"), [("http://x", ""), ("https://[::1]:8443", ""), ("http://x?q", "q")])
    def test_absolute_form_without_a_path_is_the_root__rfc9112_3_2_2(self, target: str, query: str) -> None:
        head = parse(request(start=f"GET {target} HTTP/1.1"))
        assert (head.path, head.query) == ("/", query)

    def test_authority_form_belongs_to_connect__rfc9112_3_2_3(self) -> None:
        head = parse(request(start="CONNECT example.org:443 HTTP/1.1"))
        assert (head.path, head.authority) == ("", "example.org:443")

    def test_asterisk_form_belongs_to_options__rfc9112_3_2_4(self) -> None:
        assert parse(request(start="OPTIONS * HTTP/1.1")).path == "*"

    @pytest.mark.parametrize(
        ("target", "path"), [("http://x", "*"), ("http://x/", "/"), ("http://x?a", "/"), ("http://x?", "/")]
    )
    def test_options_without_a_path_asks_about_the_server__rfc9110_4_2_3(self, target: str, path: str) -> None:
        assert parse(request(start=f"OPTIONS {target} HTTP/1.1")).path == path

    @pytest.mark.parametrize(
        ("start", "scheme"),
        [
            ("GET HTTPS://x/ HTTP/1.1", "https"),
            ("GET http://x HTTP/1.1", "http"),
            ("GET /http://x HTTP/1.1", None),
            ("OPTIONS * HTTP/1.1", None),
            ("CONNECT https:443 HTTP/1.1", None),
        ],
    )
    def test_absolute_form_names_a_scheme__rfc9110_7_4(self, start: str, scheme: str | None) -> None:
        assert parse(request(start=start)).asked_scheme == scheme


class TestMethods:
    @pytest.mark.parametrize("method", ["GET", "M-SEARCH", "UPDATEREDIRECTREF", "X_1", "A" * 20, "A.B|C"])
    def test_accepts_conventional_tokens__rfc9110_9_1(self, method: str) -> None:
        assert parse(request(start=f"{method} / HTTP/1.1")).method == method

    @pytest.mark.parametrize("method", ["get", "Get", "GEt", "GO", "G", "A" * 21, "GET#"])
    def test_refuses_unconventional_ones_with_501__rfc9110_15_6_2(self, method: str) -> None:
        data = request(start=f"{method} / HTTP/1.1")
        assert outcome(data) == (501,)
        assert parse(data, leniency=Leniency(method=True)).method == method

    def test_casefolding_needs_both_settings_as_in_gunicorn(self) -> None:
        data = request(start="get / HTTP/1.1")
        assert outcome(data, leniency=Leniency(casefold=True)) == (501,)
        assert parse(data, leniency=Leniency(casefold=True, method=True)).method == "GET"
        assert parse(request(), leniency=Leniency(casefold=True)).method == "GET"

    def test_leniency_takes_no_more_than_tokens(self) -> None:
        assert outcome(request(start="G@T / HTTP/1.1"), leniency=LENIENT) == (400,)


class TestLenientVersions:
    @pytest.mark.parametrize(
        ("version", "served"), [("0.9", (1, 0)), ("1.0", (1, 0)), ("1.1", (1, 1)), ("1.2", (1, 1)), ("2.0", (1, 1))]
    )
    def test_the_nearest_version_is_served(self, version: str, served: tuple[int, int]) -> None:
        assert parse(request(start=f"GET / HTTP/{version}"), leniency=Leniency(version=True)).version == served

    def test_they_keep_their_grammar(self) -> None:
        assert outcome(request(start="GET / HTTP/1.10"), leniency=LENIENT) == (400,)
        assert outcome(request(start="GET /"), leniency=LENIENT) == (400,)

    def test_what_1_1_demands_is_demanded(self) -> None:
        assert outcome(request(start="GET / HTTP/2.0", host=False), leniency=LENIENT) == (400,)
        assert outcome(request("Transfer-Encoding: chunked", start="GET / HTTP/0.9"), leniency=LENIENT) == (400,)


class TestConnect:
    def test_the_connection_does_not_persist__rfc9110_9_3_6(self) -> None:
        assert not parse(request("Connection: keep-alive", start="CONNECT x:80 HTTP/1.1")).keep_alive

    @pytest.mark.parametrize(("line", "said"), [("Content-Length: 1", 400), ("Transfer-Encoding: chunked", 400)])
    def test_has_no_content__rfc9110_9_3_6(self, line: str, said: int) -> None:
        assert outcome(request(line, start="CONNECT x:80 HTTP/1.1")) == (said,)
        assert parse(request("Content-Length: 0", start="CONNECT x:80 HTTP/1.1")).authority == "x:80"


class TestFields:
    def test_values_lose_surrounding_whitespace__rfc9112_5(self) -> None:
        assert dict(parse(GOOD).fields.items)["Accept"] == "text/html"
        assert dict(parse(GOOD).fields.items)["X-Empty"] == ""

    def test_obs_text_is_kept_as_latin_1__rfc9110_5_5(self) -> None:
        assert dict(parse(request("X: caf\xe9")).fields.items)["X"] == "caf\xe9"

    def test_hooks_see_upper_case_names(self) -> None:
        assert parse(request("x-a: b")).headers == [("HOST", "x"), ("X-A", "b")]

    @pytest.mark.parametrize(
        "line",
        [
            "X : y",
            "X\t: y",
            ": y",
            "X",
            "X Y: z",
            "X\xe9: y",
            "X\x00: y",
            "X: a\x00b",
            "X: a\x0bb",
            "X: a\x7fb",
            " X: folded first",
            "X: y\r\n folded",
            "X: y\r\n\tfolded",
            "X: a\nY: b",
            "X: a\rY: b",
            "X: a\n",
            "X: a\r",
            "\nX: a",
        ],
    )
    def test_refuses_malformed_fields_with_400__rfc9112_5(self, line: str) -> None:
        assert outcome(request(line)) == (400,)

    def test_refuses_whitespace_before_the_first_field__rfc9112_2_2(self) -> None:
        assert outcome(request(" X: y", host=False)) == (400,)

    @pytest.mark.parametrize("data", [b"GET / HTTP/1.1\nHost: x\n\n", b"GET / HTTP/1.1\r\nHost: x\n\r\n"])
    def test_refuses_bare_lf__rfc9112_2_2(self, data: bytes) -> None:
        assert outcome(data) == (400,)

    @pytest.mark.parametrize("name", ["Content-Type", "content-type"])
    def test_refuses_two_content_types__rfc9110_5_3(self, name: str) -> None:
        assert outcome(request("Content-Type: text/plain", f"{name}: text/plain")) == (400,)

    def test_a_block_is_not_remembered_across_versions__rfc9110_7_8(self) -> None:
        data = request("Connection: upgrade", "Upgrade: x", "Expect: 100-continue")
        first = parse(data).fields
        old = parse_head(data.replace(b"1.1", b"1.0"), LIMITS, first)
        assert old is not None
        assert old.fields is not first
        again = parse_head(data, LIMITS, old.fields)
        assert again is not None
        assert again.fields.upgrade
        odd = parse_head(data.replace(b"1.1", b"2.0"), LIMITS, old.fields, 0, Leniency(version=True))
        assert odd is not None
        assert odd.fields.upgrade

    def test_a_remembered_block_does_not_lift_the_limit_of_the_head(self) -> None:
        limits = Limits(head=len(request()))
        last = parse(request(), limits).fields
        with pytest.raises(RequestError) as caught:
            parse_head(request(start="GET /longer HTTP/1.1"), limits, last)
        assert caught.value.status == 431

    def test_remembers_the_last_block(self) -> None:
        first = parse(GOOD)
        again = parse_head(GOOD.replace(b"caf%C3%A9", b"x"), LIMITS, first.fields)
        other = parse_head(GOOD.replace(b"tests", b"Tests"), LIMITS, first.fields)
        longer = parse_head(GOOD.replace(b"tests", b"tests2"), LIMITS, first.fields)
        assert again is not None
        assert other is not None
        assert longer is not None
        assert again.fields is first.fields
        assert other.fields is not first.fields
        assert dict(longer.fields.items)["User-Agent"] == "tests2"


class TestHost:
    def test_http_1_1_needs_one__rfc9112_3_2(self) -> None:
        assert outcome(request(host=False)) == (400,)
        assert parse(request(start="GET / HTTP/1.0", host=False)).fields.host is None

    @pytest.mark.parametrize("start", ["GET / HTTP/1.1", "GET / HTTP/1.0"])
    def test_two_are_refused__rfc9112_3_2(self, start: str) -> None:
        assert outcome(request("Host: x", start=start)) == (400,)

    @pytest.mark.parametrize("host", ["", "x", "x:80", "x:", "[::1]:80", "127.0.0.1", "a_b.example", "%41.x", "a,b"])
    def test_accepts_hosts__rfc9110_7_2(self, host: str) -> None:
        assert parse(request(f"Host: {host}", host=False)).fields.host == host

    @pytest.mark.parametrize(
        "address",
        ["::", "1::", "2001:db8::1", "1:2:3:4:5:6:7:8", "::ffff:192.0.2.1", "1:2:3:4:5:6:192.0.2.1", "v1.a:b"],
    )
    def test_accepts_ip_literals__rfc3986_3_2_2(self, address: str) -> None:
        assert parse(request(f"Host: [{address}]:80", host=False)).fields.host == f"[{address}]:80"

    @pytest.mark.parametrize(
        "address",
        ["", ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::", "192.0.2.1", "::256.0.2.1"],
    )
    def test_refuses_what_is_no_ip_literal__rfc3986_3_2_2(self, address: str) -> None:
        assert outcome(request(f"Host: [{address}]", host=False)) == (400,)

    @pytest.mark.parametrize(
        "host", ["a b", "a/b", "u@x", "x:a", "x:80:80", "[::1", "a\xe9", "http://x", "a%4", "a\\b", "x:000080"]
    )
    def test_refuses_what_is_no_host__rfc9112_3_2(self, host: str) -> None:
        assert outcome(request(f"Host: {host}", host=False)) == (400,)


class TestFraming:
    def test_content_length__rfc9112_6_2(self) -> None:
        assert parse(request("Content-Length: 0012")).fields.content_length == 12
        assert parse(request()).fields.content_length is None

    @pytest.mark.parametrize(
        "value", ["", "+3", "-3", "0_3", "3 4", "3,3", "3, 4", "0x3", "3.0", "\xb2", "a", "9" * 19]
    )
    def test_refuses_other_content_lengths__rfc9112_6_3(self, value: str) -> None:
        assert outcome(request(f"Content-Length: {value}")) == (400,)

    @pytest.mark.parametrize("second", ["3", "4"])
    def test_refuses_two_content_lengths__rfc9112_6_3(self, second: str) -> None:
        assert outcome(request("Content-Length: 3", f"content-length: {second}")) == (400,)

    @pytest.mark.parametrize("value", ["chunked", "Chunked", ",chunked,", "\tchunked "])
    def test_chunked__rfc9112_6_1(self, value: str) -> None:
        assert parse(request(f"Transfer-Encoding: {value}")).fields.chunked

    @pytest.mark.parametrize(
        ("value", "status"),
        [
            ("gzip, chunked", 501),
            ("gzip , Chunked", 501),
            ("xchunked", 400),
            ("identity", 400),
            ("gzip", 400),
            ("chunked;q=1", 400),
            ('"chunked"', 400),
            ("chunked\xa0", 400),
            ("chunked\x85", 400),
            ("x chunked", 400),
            ("\x00chunked", 400),
            ("chunked, chunked", 400),
            ("chunked, gzip", 400),
            ("", 400),
            (",", 400),
        ],
    )
    def test_refuses_other_transfer_codings__rfc9112_6_1(self, value: str, status: int) -> None:
        assert outcome(request(f"Transfer-Encoding: {value}")) == (status,)

    @pytest.mark.parametrize("second", ["chunked", "identity", "", ","])
    def test_refuses_codings_spread_over_lines__rfc9112_6_1(self, second: str) -> None:
        assert outcome(request("Transfer-Encoding: chunked", f"Transfer-Encoding: {second}")) == (400,)
        assert outcome(request(f"Transfer-Encoding: {second}", "Transfer-Encoding: chunked")) == (400,)

    def test_rejects_content_length_with_chunked__rfc9112_6_3(self) -> None:
        assert outcome(request("Content-Length: 3", "Transfer-Encoding: chunked")) == (400,)

    def test_rejects_chunked_in_http_1_0__rfc9112_6_1(self) -> None:
        assert outcome(request("Transfer-Encoding: chunked", start="POST / HTTP/1.0")) == (400,)


class TestConnection:
    @pytest.mark.parametrize(
        ("start", "lines", "keep_alive"),
        [
            ("GET / HTTP/1.1", [], True),
            ("GET / HTTP/1.1", ["Connection: close"], False),
            ("GET / HTTP/1.1", ["Connection: close, TE"], False),
            ("GET / HTTP/1.1", ["Connection: TE , Close"], False),
            ("GET / HTTP/1.1", ["Connection: keep-alive, close"], False),
            ("GET / HTTP/1.1", ["Connection: keep-alive", "Connection: close"], False),
            ("GET / HTTP/1.0", [], False),
            ("GET / HTTP/1.0", ["Connection: Keep-Alive"], True),
            ("GET / HTTP/1.0", ["Connection: keep-alive, close"], False),
        ],
    )
    def test_persistence__rfc9112_9_3(self, start: str, lines: list[str], keep_alive: bool) -> None:
        assert parse(request(*lines, start=start)).keep_alive is keep_alive

    def test_upgrade_must_be_named_by_connection__rfc9110_7_8(self) -> None:
        assert parse(request("Upgrade: websocket", "Connection: keep-alive, Upgrade")).fields.upgrade
        assert not parse(request("Upgrade: websocket")).fields.upgrade
        assert not parse(request("Connection: Upgrade")).fields.upgrade

    def test_http_1_0_has_neither_upgrade_nor_expectation__rfc9110_7_8(self) -> None:
        lines = ("Upgrade: websocket", "Connection: upgrade", "Expect: 100-continue")
        fields = parse(request(*lines, start="GET / HTTP/1.0")).fields
        assert not fields.upgrade
        assert not fields.expect_continue

    def test_expectations__rfc9110_10_1_1(self) -> None:
        assert parse(request("Expect: 100-Continue")).fields.expect_continue
        assert not parse(request()).fields.expect_continue
        assert outcome(request("Expect: miracles")) == (417,)
        assert outcome(request("Expect: 100-continue, miracles")) == (417,)
        assert outcome(request("Expect: y 100-continue")) == (417,)
        assert not parse(request("Expect: ")).fields.expect_continue


class TestFolding:
    FOLDING = Leniency(folding=True)

    @pytest.mark.parametrize(
        ("lines", "value"),
        [
            (("X: a", " b"), "a b"),
            (("X: a  ", "\t  b", " c"), "a b c"),
            (("X:", " a"), "a"),
            (("X: a", " "), "a"),
            (("X: a", "  : b"), "a : b"),
        ],
    )
    def test_lines_are_joined_by_a_space__rfc9112_5_2(self, lines: tuple[str, ...], value: str) -> None:
        assert outcome(request(*lines)) == (400,)
        assert dict(parse(request(*lines), leniency=self.FOLDING).fields.items)["X"] == value

    def test_a_folded_field_means_what_it_says_joined__rfc9112_5_2(self) -> None:
        fields = parse(request("Transfer-Encoding:", " chunked"), leniency=self.FOLDING).fields
        assert fields.chunked
        assert outcome(request("Content-Length: 1", " 0"), leniency=self.FOLDING) == (400,)

    def test_there_is_nothing_to_continue_before_the_first_field__rfc9112_2_2(self) -> None:
        assert outcome(request(" X: y", host=False), leniency=LENIENT) == (400,)

    def test_a_joined_field_is_held_to_the_limit(self) -> None:
        limits = Limits(field_size=30)
        data = request("X: " + "a" * 20, " " + "b" * 20)
        assert outcome(data, limits, self.FOLDING) == (431,)
        assert outcome(data, leniency=self.FOLDING) is not None
        assert feed([data[:40], data[40:]], limits, self.FOLDING) == verdict(data, limits, self.FOLDING)

    @pytest.mark.timeout(30)  # one that looks at every run of spaces from each of its ends takes minutes
    def test_long_runs_of_whitespace_take_time_in_proportion(self) -> None:
        limits = Limits(field_size=0, head=0)
        spaces = " " * 400_000
        data = request(f"X: a{spaces}b", f"{spaces}c", f" {spaces}", start="GET / HTTP/1.1")
        value = dict(parse(data, limits, self.FOLDING).fields.items)["X"]
        assert value.split() == ["a", "b", "c"]

    @pytest.mark.parametrize("line", ["a\x00", "a\rb", "a\nb"])
    def test_nothing_else_is_let_through(self, line: str) -> None:
        assert outcome(request("X: a", f" {line}"), leniency=self.FOLDING) == (400,)


class TestSpacesBeforeTheColon:
    SPACES = Leniency(spaces=True)

    @pytest.mark.parametrize("line", ["X : y", "X\t : y"])
    def test_are_ignored(self, line: str) -> None:
        assert outcome(request(line)) == (400,)
        assert dict(parse(request(line), leniency=self.SPACES).fields.items)["X"] == "y"

    def test_the_field_means_what_it_says_without_them(self) -> None:
        assert parse(request("Content-Length : 5"), leniency=self.SPACES).fields.content_length == 5
        assert outcome(request("Content-Length: 5", "Content-Length : 5"), leniency=self.SPACES) == (400,)

    @pytest.mark.parametrize("line", [" : y", "X Y: z", "X\xa0: y", "X\x0b: y"])
    def test_nothing_else_is_let_through(self, line: str) -> None:
        assert outcome(request(line), leniency=self.SPACES) == (400,)


class TestLimits:
    def test_a_line_at_the_limit_passes_and_one_above_is_414(self) -> None:
        fixed = len("GET / HTTP/1.1")
        assert parse(request(start=f"GET /{'a' * (40 - fixed)} HTTP/1.1"), SMALL)
        assert outcome(request(start=f"GET /{'a' * (41 - fixed)} HTTP/1.1"), SMALL) == (414,)
        assert outcome(b"GET /" + b"a" * 36, SMALL) == (414,)
        assert outcome(b"GET /" + b"a" * 35, SMALL) is None
        assert outcome(b"GET /" + b"a" * 35 + b"\r", SMALL) is None

    def test_an_unfinished_head_after_a_long_line_is_414(self) -> None:
        assert outcome(b"GET /" + b"a" * 40 + b" HTTP/1.1\r\nHo", SMALL) == (414,)

    def test_fields_at_the_limit_pass_and_one_above_is_431(self) -> None:
        assert parse(request("A: 1", "B: 2"), SMALL)
        assert outcome(request("A: 1", "B: 2", "C: 3"), SMALL) == (431,)

    def test_a_long_field_counts_before_many_fields_however_they_come(self) -> None:
        data = request("A: " + "b" * 28, "B: 2", "C: 3")
        assert verdict(data, SMALL) == (431, "a header field is longer than 30 bytes")
        assert feed([data[:50], data[50:]], SMALL) == verdict(data, SMALL)

    def test_a_field_at_the_limit_passes_and_one_above_is_431(self) -> None:
        assert parse(request("A: " + "b" * 27), SMALL)
        assert outcome(request("A: " + "b" * 28), SMALL) == (431,)
        unfinished = b"GET / HTTP/1.1\r\nA: " + b"b" * 27
        assert outcome(unfinished, SMALL) is None
        assert outcome(unfinished + b"\r", SMALL) is None
        assert outcome(unfinished + b"b", SMALL) == (431,)

    def test_a_head_at_the_limit_passes_and_one_above_is_431(self) -> None:
        limits = Limits(head=60)
        data = request("A: ")
        exact = request("A: " + "b" * (60 - len(data)))
        assert parse(exact, limits).size == 60
        assert outcome(exact[:-4] + b"b\r\n\r\n", limits) == (431,)
        assert outcome(exact[:-4] + b"bbbbb", limits) == (431,)

    def test_zero_is_no_limit(self) -> None:
        limits = Limits(line=0, fields=0, field_size=0, head=0)
        data = request(*(f"X-{n}: {'v' * 200}" for n in range(1000)), start=f"GET /{'a' * 100000} HTTP/1.1")
        assert len(parse(data, limits).fields.items) == 1001
        assert feed([data[:150000], data[150000:]], limits) == outcome(data, limits)


class TestIncomplete:
    @pytest.mark.parametrize(
        "data",
        [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nHost: x\n", b"GET / HTTP/2.0 \r\nHo", b"{}", b"G\r\rX"],
    )
    def test_what_no_byte_can_mend_is_refused_at_once(self, data: bytes) -> None:
        assert outcome(data) == (400,)

    @pytest.mark.parametrize("end", range(len(GOOD)))
    def test_every_prefix_of_a_good_head_waits(self, end: int) -> None:
        assert parse_head(GOOD[:end], LIMITS) is None

    @pytest.mark.parametrize("split", range(1, len(GOOD)))
    def test_a_split_anywhere_changes_nothing(self, split: int) -> None:
        assert feed([GOOD[:split], GOOD[split:]]) == outcome(GOOD)

    def test_byte_by_byte(self) -> None:
        assert feed([GOOD[i : i + 1] for i in range(len(GOOD))]) == outcome(GOOD)


_PIECES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /a?b HTTP/1.0\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"GET http://h/p HTTP/1.1\r\n",
        b"HTTP/1.1",
        b"Host: x\r\n",
        b"Host: y z\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 05, 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close, te\r\n",
        b"Expect: 100-continue\r\n",
        b"Upgrade: h2c\r\nConnection: upgrade\r\n",
        b"A: b\r\n",
        b"A : b\r\n",
        b"A: caf\xe9\r\n",
        b" fold\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\x00",
        b":",
        b" ",
        b"x",
    ]
)


@given(
    st.lists(st.one_of(_PIECES, st.binary(max_size=4)), max_size=12),
    st.sampled_from([LIMITS, SMALLER]),
    st.sampled_from([STRICT, LENIENT]),
    st.data(),
)
def test_any_bytes_mean_the_same_whole_and_in_pieces(
    pieces: list[bytes], limits: Limits, leniency: Leniency, data: st.DataObject
) -> None:
    message = b"".join(pieces) + b"\r\n\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(message)), max_size=6)))
    parts = [message[a:b] for a, b in zip([0, *cuts], [*cuts, len(message)], strict=True)]
    whole = verdict(message, limits, leniency)
    assert whole is not None
    assert feed(parts, limits, leniency) == whole
    assert feed([message[i : i + 1] for i in range(len(message))], limits, leniency) == whole


# The fields of the last head


def told(data: bytes, last: Fields | None, leniency: Leniency) -> Any:
    """Return all that a head says, or its fault."""
    try:
        head = parse_head(data, LIMITS, last, 0, leniency)
    except RequestError as error:
        return error.status, error.reason
    if head is None:
        return None
    fields = head.fields
    return (
        *(getattr(head, name) for name in ("method", "target", "version", "authority", "path", "query", "size")),
        *(getattr(fields, name) for name in ("raw", "items", "content_length", "chunked", "connection")),
        *(getattr(fields, name) for name in ("expect_continue", "host", "upgrade", "plain")),
    )


LINES = st.sampled_from(
    (
        b"Cookie: a=b", b"Cookie: a=c", b"Cookie:", b"Cookie: \xe9", b"Cookie: a\x00b", b"Cookie : a=b", b"cookie: a=b",
        b"X-Long: " + b"x" * 9000, b"X_Y: 1", b"X-Y: 1", b"X-Y: 2", b"Host: example.org", b"Host: other.org",
        b"Host: a b",
        b"Content-Length: 3", b"Content-Length: 4", b"Connection: close", b"Connection: keep-alive", b" folded", b"",
        b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Upgrade: x", b"Content-Type: a/b",
    )
)  # fmt: skip


@pytest.mark.parametrize("leniency", [Leniency(), Leniency(folding=True, spaces=True)], ids=["strict", "lenient"])
@given(st.lists(LINES, max_size=6), st.integers(0, 5), LINES)
def test_the_last_head_changes_nothing_of_what_the_next_says(
    leniency: Leniency, lines: list[bytes], index: int, other: bytes
) -> None:
    def block(lines: list[bytes]) -> bytes:
        return b"\r\n".join([b"GET /path?q HTTP/1.1", b"Host: example.org", *lines, b"", b""])

    try:
        first = parse_head(block(lines), LIMITS, leniency=leniency)
    except RequestError:
        first = None
    if first is None:
        return
    changed = [*lines[:index], other, *lines[index + 1 :]]
    assert told(block(changed), first.fields, leniency) == told(block(changed), None, leniency)


def test_a_changed_cookie_is_all_that_is_looked_at() -> None:
    first = parse_head(request("Cookie: a=b", "Accept: */*"), LIMITS)
    again = parse_head(request("Cookie: a=c", "Accept: */*"), LIMITS, first.fields)
    assert again.fields.changes == (("Cookie", "a=c"),)
    assert again.fields.items == (("Host", "x"), ("Cookie", "a=c"), ("Accept", "*/*"))


@pytest.mark.parametrize(
    ("line", "stamped"), [("x-request-start: t=1", True), ("X_Request_Start: t=1", False), ("A: b", False)]
)
def test_whether_a_forwarder_notes_the_time(line, stamped):
    first = parse_head(f"GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n".encode(), Limits())
    assert first.fields.stamped is stamped
    changed = parse_head(f"GET / HTTP/1.1\r\nHost: a\r\n{line}2\r\n\r\n".encode(), Limits(), first.fields)
    assert changed.fields.stamped is stamped
