"""Encode responses: the choice of framing, the head, chunks, the pages of refused requests (RFC 9112 sections 4 to 7).

Pure functions from values to bytes. The fields have been checked before.
"""

from __future__ import annotations

from enum import Enum
from time import gmtime
from typing import TYPE_CHECKING

from geventwsgi import clock
from geventwsgi.http.grammar import NO_CONTENT_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from geventwsgi.http.head import RequestHead

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


class Framing(Enum):
    """How the end of a response's content is marked (RFC 9112 section 6.3)."""

    #: No content at all: a reply to HEAD, 1xx, 204, 205, 304.
    NONE = "none"
    #: Content-Length.
    LENGTH = "length"
    #: Transfer-Encoding: chunked.
    CHUNKED = "chunked"
    #: The connection's end.
    CLOSE = "close"


# To look up an attribute of an enum's class would cost more than everything else that is done with it.
NONE, LENGTH, CHUNKED, CLOSE = Framing


def choose_framing(request: RequestHead, status: int, length: int | None) -> Framing:
    """Return how to frame a response.

    :param request: what it answers: HEAD is answered without content (RFC 9110 section 9.3.2), and HTTP/1.0 knows no
        chunks (RFC 9112 section 6.1).
    :param length: the content's length in bytes where it is known.
    """
    if request.head_only or (status != 200 and status in NO_CONTENT_STATUSES):
        return NONE
    if request.tunnel and 200 <= status < 300:
        return CLOSE  # a tunnel follows the head (RFC 9110 section 9.3.6)
    if length is not None:
        return LENGTH
    return CHUNKED if request.minor else CLOSE


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def imf_fixdate(timestamp: float) -> str:
    """Return a time as ``Sun, 06 Nov 1994 08:49:37 GMT`` (RFC 9110 section 5.6.7); no name follows the locale."""
    year, month, day, hour, minute, second, weekday, *_ = gmtime(timestamp)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} GMT"


class DateCache:
    """The Date field's value, made once a second (RFC 9110 section 6.6.1)."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def now(self) -> str:
        """Return it, the same object for a second."""
        second = clock.second()
        if second != self._second:
            self._text = imf_fixdate(second)
            self._second = second
        return self._text


_DATES = DateCache()


def http_date() -> str:
    """Return the Date field's value."""
    return _DATES.now()


def response_head(
    status: str,
    headers: Iterable[tuple[str, str]],
    *,
    framing: Framing,
    length: int | None = None,
    connection: str | None = None,
    server: str = "",
    date: str | None = None,
) -> bytes:
    """Return a response's head.

    Date and Server are added unless ``headers`` have them. Whatever ``headers`` say of Content-Length gives way to
    ``length``, and that to what status and framing demand.

    :param status: status code, space, reason phrase.
    :param length: the value of Content-Length; None for none.
    :param connection: the value of Connection; None for none.
    :param server: the value of Server; "" for none.
    :param date: the value of Date; None for now.
    """
    lines = [f"HTTP/1.1 {status}\r\n"]
    has_date = False
    for name, value in headers:
        lower = name.lower()
        if lower == "content-length":
            continue
        if lower == "date":
            has_date = True
        elif lower == "server":
            server = ""
        lines.append(f"{name}: {value}\r\n")
    if server:
        lines.append(f"Server: {server}\r\n")
    if not has_date:
        lines.append(f"Date: {date or http_date()}\r\n")
    if framing is LENGTH:
        lines.append(f"Content-Length: {length}\r\n")
    else:
        lines.append(_other_framing(status, framing, length))
    if connection is not None:
        lines.append(f"Connection: {connection}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1")


class EncodedHead:
    """A response head, and the values of which it was made."""

    __slots__ = ("connection", "data", "date", "framing", "headers", "length", "status")

    def __init__(
        self, status: str, headers: Sequence[tuple[str, str]], framing: Framing, length: int | None,
        connection: str | None, date: str, data: bytes,
    ) -> None:  # fmt: skip
        self.status, self.headers, self.date = status, headers, date
        self.framing, self.length, self.connection = framing, length, connection
        self.data = data


class LastHead:
    """The response head that was encoded last. Most servers send the same one again, until the date changes.

    Compares by identity, but for the length, what mostly are the same objects. What is remembered is one object, made
    when a head has been encoded: so none is ever taken for another whose encoding failed.
    """

    __slots__ = ("_dates", "_head")

    def __init__(self) -> None:
        self._dates = _DATES
        self._head = EncodedHead("", (), NONE, None, None, "", b"")

    def encode(
        self, status: str, headers: Sequence[tuple[str, str]], framing: Framing, length: int | None,
        connection: str | None, server: str,
    ) -> bytes:  # fmt: skip
        """Return what :func:`response_head` returns; ``headers`` must not change afterwards, nor ``server``."""
        date = self._dates.now()
        head = self._head
        if (
            headers is head.headers
            and date is head.date
            and framing is head.framing
            and status is head.status
            and connection is head.connection
            and length == head.length
        ):
            return head.data
        data = response_head(
            status, headers, framing=framing, length=length, connection=connection, server=server, date=date
        )
        self._head = EncodedHead(status, headers, framing, length, connection, date, data)
        return data


def _other_framing(status: str, framing: Framing, length: int | None) -> str:
    """Return the framing line of a response whose content has no known length, or none at all; "" for no line."""
    if framing is CHUNKED:
        return "Transfer-Encoding: chunked\r\n"
    if framing is NONE and status.startswith("205"):
        return "Content-Length: 0\r\n"  # the only status without content whose head does not end it (RFC 9110 15.3.6)
    if framing is CLOSE or length is None:
        return ""
    return f"Content-Length: {length}\r\n"


def chunk_size(size: int) -> bytes:
    """Return the line before a chunk's data (RFC 9112 section 7.1)."""
    return b"%x\r\n" % size


def last_chunk(trailers: Iterable[tuple[str, str]]) -> bytes:
    """Return the end of a chunked body with trailer fields (RFC 9112 section 7.1.2)."""
    return "".join(["0\r\n", *_lines(trailers), "\r\n"]).encode("latin-1")


def trailer_field(trailers: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Return the field that announces trailers (RFC 9110 section 6.6.2)."""
    return "Trailer", ", ".join([name for name, _ in trailers])


def early_hints(headers: Iterable[tuple[str, str]]) -> bytes:
    """Return an interim response with fields of the final one (RFC 8297)."""
    return "".join(["HTTP/1.1 103 Early Hints\r\n", *_lines(headers), "\r\n"]).encode("latin-1")


def _lines(fields: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name}: {value}\r\n" for name, value in fields]


def status_line(status: int) -> str:
    """Return "404 Not Found" for 404; the phrase of an unregistered code is "Unknown".

    499 is nginx's code for a client that left before its answer. It appears in logs only.
    """
    if status == 499:
        return "499 Client Closed Request"
    from http import HTTPStatus  # slow to import, and most responses have a phrase already

    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"


def error_page(status: int, detail: str | None = None) -> bytes:
    """Return a small HTML page for an error status.

    :param detail: plain text shown below the title; escaped here.
    """
    from html import escape  # slow to import, and for errors alone

    title = status_line(status)
    body = f"<pre>{escape(detail)}</pre>\n" if detail else ""
    page = f"<!doctype html>\n<html><head><title>{title}</title></head>\n<body><h1>{title}</h1>\n{body}</body></html>\n"
    return page.encode("utf-8", "backslashreplace")
