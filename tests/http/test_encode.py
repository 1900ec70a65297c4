"""Responses: the choice of framing, the head's fields, pages of errors."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest

from geventwsgi.http.encode import (
    Framing,
    LastHead,
    choose_framing,
    chunk_size,
    error_page,
    http_date,
    imf_fixdate,
    response_head,
    status_line,
)
from geventwsgi.http.head import Limits, parse_head


def fields(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode("latin-1").split("\r\n")
    assert lines[-2:] == ["", ""]
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines[1:-2])]


@pytest.mark.parametrize(
    ("method", "version", "status", "length", "framing"),
    [
        ("GET", (1, 1), 200, 5, Framing.LENGTH),
        ("GET", (1, 1), 200, 0, Framing.LENGTH),
        ("GET", (1, 1), 200, None, Framing.CHUNKED),
        ("GET", (1, 0), 200, None, Framing.CLOSE),
        ("GET", (1, 0), 200, 5, Framing.LENGTH),
        ("HEAD", (1, 1), 200, 5, Framing.NONE),
        ("HEAD", (1, 1), 200, None, Framing.NONE),
        ("GET", (1, 1), 204, None, Framing.NONE),
        ("GET", (1, 1), 304, 5, Framing.NONE),
        ("GET", (1, 1), 103, None, Framing.NONE),
        ("GET", (1, 1), 205, 5, Framing.NONE),
        ("CONNECT", (1, 1), 200, 5, Framing.CLOSE),
        ("CONNECT", (1, 1), 299, None, Framing.CLOSE),
        ("CONNECT", (1, 1), 405, 5, Framing.LENGTH),
    ],
)
def test_framing_of_responses__rfc9112_6_3(
    method: str, version: tuple[int, int], status: int, length: int | None, framing: Framing
) -> None:
    target = "host:1" if method == "CONNECT" else "/"
    head = parse_head(f"{method} {target} HTTP/{version[0]}.{version[1]}\r\nHost: host\r\n\r\n".encode(), Limits())
    assert head is not None
    assert choose_framing(head, status, length) is framing


def test_a_head_has_date_server_and_length() -> None:
    head = response_head("200 OK", [("A", "b")], framing=Framing.LENGTH, length=3, server="us", connection="close")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    names = dict(fields(head))
    assert names.pop("Date")
    assert names == {"A": "b", "Server": "us", "Content-Length": "3", "Connection": "close"}


def test_the_applications_own_date_and_server_stay() -> None:
    given_fields = [("date", "then"), ("SERVER", "me")]
    assert fields(response_head("200 OK", given_fields, framing=Framing.NONE, server="us")) == given_fields


def test_never_both_framings__rfc9112_6_2() -> None:
    head = response_head("200 OK", [("Content-length", "9")], framing=Framing.CHUNKED)
    assert [name for name, _ in fields(head)] == ["Date", "Transfer-Encoding"]


@pytest.mark.parametrize("length", [None, 5])
def test_a_205_has_length_0__rfc9110_15_3_6(length: int | None) -> None:
    head = response_head("205 Reset Content", [("Content-Length", "5")], framing=Framing.NONE, length=length)
    assert dict(fields(head))["Content-Length"] == "0"


def test_a_tunnel_has_no_length__rfc9110_9_3_6() -> None:
    head = response_head("200 OK", [("Content-Length", "5")], framing=Framing.CLOSE, length=5)
    assert [name for name, _ in fields(head)] == ["Date"]


def test_date_is_an_imf_fixdate__rfc9110_5_6_7() -> None:
    assert imf_fixdate(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"
    for month in range(12):
        moment = 1_800_000_000 + month * 31 * 86_400
        assert parsedate_to_datetime(imf_fixdate(moment)).timestamp() == moment
    assert http_date().endswith(" GMT")


def test_chunk_sizes_are_hexadecimal__rfc9112_7_1() -> None:
    assert chunk_size(255) == b"ff\r\n"


def test_status_lines() -> None:
    assert status_line(404) == "404 Not Found"
    assert status_line(499) == "499 Client Closed Request"
    assert status_line(299) == "299 Unknown"


def test_pages_escape_what_they_quote() -> None:
    assert b"&lt;script&gt;" in error_page(400, "<script>")
    assert b"<pre>" not in error_page(400)
    assert error_page(500, "\udcff")


def test_a_head_that_could_not_be_encoded_is_not_found_by_the_next_one() -> None:
    """Neither is the head before it: that is another client's."""

    class Fails(str):
        __slots__ = ()
        left = 1

        def __format__(self, _: str) -> str:
            Fails.left -= 1
            return "\u20ac" if Fails.left >= 0 else "fine"

    last, headers = LastHead(), [("X-Title", Fails("fine"))]
    last.encode("200 OK", [("Set-Cookie", "user=alice")], Framing.LENGTH, 5, None, "")
    with pytest.raises(UnicodeEncodeError):
        last.encode("200 OK", headers, Framing.LENGTH, 5, None, "")
    assert ("X-Title", "fine") in fields(last.encode("200 OK", headers, Framing.LENGTH, 5, None, ""))
