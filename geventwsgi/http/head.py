"""Parse a request's head: bytes in, :class:`RequestHead` out, None for "more", or :class:`RequestError`.

Knows RFC 9112 sections 2 to 6 and 9.3 as far as a head decides them: request line, fields, framing. It does not know
where the bytes come from, nor what an application sees of them.

A well-formed head is checked by two regular expressions in C; only when one of them fails is the head taken apart line
by line to name the fault. The fields of the previous head on the connection are remembered: clients repeat their
header block byte for byte, and comparing it costs a fraction of parsing it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geventwsgi.errors import RequestError
from geventwsgi.http import grammar

if TYPE_CHECKING:
    from typing import NoReturn

CRLF = b"\r\n"
END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a request, in bytes but for ``fields``; 0 means no bound.

    :ivar line: the request line without its CRLF; beyond it 414 (``limit_request_line``).
    :ivar fields: number of field lines; beyond it 431 (``limit_request_fields``).
    :ivar field_size: one field line without its CRLF; beyond it 431 (``limit_request_field_size``).
    :ivar head: the whole head; beyond it 431.
    :ivar body: the decoded body; beyond it 413 (``limit_request_body``).
    """

    line: int = 4094
    fields: int = 100
    field_size: int = 8190
    head: int = 65536
    body: int = 0


class Fields:
    """A head's fields and what they say about the message; shared by the requests that repeat the same block."""

    __slots__ = (
        "cgi",
        "chunked",
        "connection",
        "content_length",
        "expect_continue",
        "host",
        "items",
        "raw",
        "scheme",
        "upgrade",
    )

    #: The block as received, each line with its CRLF.
    raw: bytes
    #: (name as received, value without surrounding whitespace), in order, both decoded from latin-1.
    items: tuple[tuple[str, str], ...]
    #: RFC 9112 section 6.2; None when absent.
    content_length: int | None
    #: RFC 9112 section 6.1: Transfer-Encoding is exactly "chunked".
    chunked: bool
    #: RFC 9110 section 7.6.1: the options of all Connection fields, in lower case.
    connection: frozenset[str]
    #: RFC 9110 section 10.1.1.
    expect_continue: bool
    #: The value of Host; None when absent.
    host: str | None
    #: RFC 9110 section 7.8: an Upgrade field that Connection names.
    upgrade: bool
    #: Set and read by ``wsgi.environ`` alone: the environ made from these fields, copied for each request.
    cgi: dict[str, Any] | None
    #: Set and read by ``serving.http1`` alone: the scheme that a trusted forwarder names here; None until asked for.
    scheme: str | None


class RequestHead:
    """One request's head."""

    __slots__ = ("authority", "fields", "method", "path", "query", "size", "target", "version")

    def __init__(
        self, method: str, target: str, version: tuple[int, int], authority: str | None, path: str, query: str,
        fields: Fields, size: int,
    ) -> None:  # fmt: skip
        self.method = method
        #: As on the wire.
        self.target = target
        self.version = version
        #: The host of an absolute-form or authority-form target, which replaces Host (RFC 9112 section 3.2.2).
        self.authority = authority
        #: Still percent-encoded; "*" for the asterisk-form, "" for the authority-form.
        self.path = path
        self.query = query
        self.fields = fields
        #: Bytes that the head took of the buffer.
        self.size = size

    @property
    def uri(self) -> str:
        """The request target, under the name that gunicorn's hooks know."""
        return self.target

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The fields with upper-case names, as gunicorn's hooks know them."""
        return [(name.upper(), value) for name, value in self.fields.items]

    @property
    def keep_alive(self) -> bool:
        """Whether the client lets the connection persist (RFC 9112 section 9.3)."""
        options = self.fields.connection
        if "close" in options:
            return False
        return self.version == (1, 1) or "keep-alive" in options


_VERSIONS = {"0": (1, 0), "1": (1, 1)}


def parse_head(buffer: bytes, limits: Limits, last: Fields | None = None, scanned: int = 0) -> RequestHead | None:
    """Return the head at the start of ``buffer``, or None while it is incomplete.

    :param buffer: what the client sent, from the first byte of the request on.
    :param last: the fields of the previous request on this connection.
    :param scanned: how much of ``buffer`` an earlier call has seen, to spare it a second look.
    :raises RequestError: 400, 414, 417, 431, 501 or 505, as soon as the bytes at hand cannot become a valid head.
    """
    start = 2 if buffer.startswith(CRLF) else 0  # RFC 9112 section 2.2: one empty line before the request is ignored
    end = buffer.find(END_OF_HEAD, max(start, scanned - 3))
    if end < 0:
        _check_incomplete(buffer, limits, start, scanned)
        return None
    line_end = buffer.find(CRLF, start)
    if 0 < limits.line < line_end - start:
        _refuse_line_length(limits)
    match = grammar.REQUEST_LINE.fullmatch(buffer[start:line_end].decode("latin-1"))
    if match is None:
        _refuse_request_line(buffer[start:line_end])
    method, target, major, minor = match.groups()
    if major != "1" or minor not in "01":
        _refuse_version(f"{major}.{minor}")

    block_start = line_end + 2
    if last is not None and end + 2 - block_start == len(last.raw) and buffer.startswith(last.raw, block_start):
        fields = last
    else:
        if 0 < limits.head < end + 4 - start:
            raise RequestError(431, f"the head is longer than {limits.head} bytes")
        fields = parse_fields(buffer[block_start : end + 2], limits)
    version = _VERSIONS[minor]
    if fields.host is None and minor == "1":
        raise RequestError(400, "an HTTP/1.1 request has a Host field")  # RFC 9112 section 3.2
    if fields.chunked and minor == "0":
        raise RequestError(400, "Transfer-Encoding does not exist in HTTP/1.0")  # RFC 9112 section 6.1

    if target[0] == "/" and method != "CONNECT":
        authority = None
        path, _, query = target.partition("?")
    else:
        authority, path, query = _special_target(method, target)
    return RequestHead(method, target, version, authority, path, query, fields, end + 4)


def parse_fields(block: bytes, limits: Limits) -> Fields:
    """Parse field lines, each with its CRLF, and what they say of framing and connection.

    :raises RequestError: 400, 417, 431 or 501.
    """
    items = parse_field_lines(block, limits)
    fields = Fields()
    fields.raw = block
    fields.items = tuple(items)
    fields.cgi = fields.scheme = None
    special: dict[str, list[str]] = {}
    for name, value in items:
        lower = name.lower()
        if lower in _SPECIAL:
            special.setdefault(lower, []).append(value)
    fields.host = _host(special.get("host"))
    fields.connection = frozenset(_list(special.get("connection", ())))
    fields.upgrade = "upgrade" in special and "upgrade" in fields.connection
    fields.expect_continue = _expect_continue(special.get("expect", ()))
    fields.chunked = _chunked(special.get("transfer-encoding"))
    fields.content_length = _content_length(special.get("content-length"))
    if fields.chunked and fields.content_length is not None:  # RFC 9112 section 6.3: the mark of request smuggling
        raise RequestError(400, "Content-Length and Transfer-Encoding exclude each other")
    return fields


def parse_field_lines(block: bytes, limits: Limits) -> list[tuple[str, str]]:
    """Split field lines into (name, value); the same grammar serves heads and trailers.

    :raises RequestError: 400 or 431.
    """
    text = block.decode("latin-1")
    if grammar.FIELD_LINES.fullmatch(text) is None:
        _refuse_fields(text)
    lines = text.split("\r\n")
    lines.pop()
    if 0 < limits.fields < len(lines):
        raise RequestError(431, f"more than {limits.fields} header fields")
    if 0 < limits.field_size < len(text):
        for line in lines:
            if len(line) > limits.field_size:
                _refuse_field_size(limits)
    items = []
    for line in lines:
        name, _, value = line.partition(":")
        items.append((name, value.strip(grammar.OWS)))
    return items


_SPECIAL = frozenset(("connection", "content-length", "expect", "host", "transfer-encoding", "upgrade"))


def _list(values: list[str] | tuple[str, ...]) -> list[str]:
    """Return the lower-cased elements of a comma-separated list over several lines (RFC 9110 section 5.6.1)."""
    return [item.strip(grammar.OWS).lower() for value in values for item in value.split(",") if item.strip(grammar.OWS)]


def _host(values: list[str] | None) -> str | None:
    """RFC 9112 section 3.2: at most one Host line, and that one valid."""
    if values is None:
        return None
    if len(values) > 1:
        raise RequestError(400, "more than one Host field")
    if grammar.HOST.fullmatch(values[0]) is None:
        raise RequestError(400, "Host is not a host")
    return values[0]


def _expect_continue(values: list[str] | tuple[str, ...]) -> bool:
    """RFC 9110 section 10.1.1: the only expectation there is; any other is answered 417."""
    expectations = _list(values)
    if any(expectation != "100-continue" for expectation in expectations):
        raise RequestError(417, "the only expectation known is 100-continue")
    return bool(expectations)


def _chunked(values: list[str] | None) -> bool:
    """RFC 9112 section 6.1: the last coding is chunked, applied once; no other coding is implemented here."""
    if values is None:
        return False
    codings = _list(values)
    if codings == ["chunked"]:
        return True
    if not codings or codings.count("chunked") > 1 or "chunked" in codings[:-1]:
        raise RequestError(400, "Transfer-Encoding does not end in exactly one chunked")
    raise RequestError(501, "the only transfer coding known is chunked")


def _content_length(values: list[str] | None) -> int | None:
    """RFC 9112 section 6.3: one field with one number; a list is refused even when its members agree."""
    if values is None:
        return None
    if len(values) > 1 or "," in values[0]:
        raise RequestError(400, "more than one Content-Length")
    if grammar.CONTENT_LENGTH.fullmatch(values[0]) is None:
        raise RequestError(400, "Content-Length is not a number")
    return int(values[0])


def _special_target(method: str, target: str) -> tuple[str | None, str, str]:
    """Return authority, path and query of a target that is not in origin-form (RFC 9112 sections 3.2.2 to 3.2.4)."""
    if method == "CONNECT":
        if grammar.AUTHORITY_FORM.fullmatch(target) is None:
            raise RequestError(400, "the target of CONNECT is host:port")
        return target, "", ""
    if target == "*" and method == "OPTIONS":
        return None, "*", ""
    match = grammar.ABSOLUTE_FORM.fullmatch(target)
    if match is None or grammar.HOST.fullmatch(match[1]) is None or match[1].startswith(":"):
        raise RequestError(400, "the request target is neither a path nor an absolute URI")
    return match[1], match[2] or "/", match[3] or ""


def _check_incomplete(buffer: bytes, limits: Limits, start: int, scanned: int) -> None:
    """Refuse what no further byte can mend, so that a hopeless client does not hold its place until a deadline."""
    fault = grammar.BARE_CR_OR_LF.search(buffer, max(0, scanned - 1))
    if fault is not None:
        raise RequestError(400, "a bare CR or LF")
    line_end = buffer.find(CRLF, start)
    if line_end < 0:
        if 0 < limits.line < len(buffer.rstrip(b"\r")) - start:
            _refuse_line_length(limits)
        if len(buffer) > start + 1 and grammar.METHOD.match(buffer[start : start + 1].decode("latin-1")) is None:
            raise RequestError(400, "not an HTTP request")
        return
    if 0 < limits.line < line_end - start:
        _refuse_line_length(limits)
    if grammar.REQUEST_LINE.fullmatch(buffer[start:line_end].decode("latin-1")) is None:
        _refuse_request_line(buffer[start:line_end])
    if 0 < limits.field_size < len(buffer) - (buffer.rfind(CRLF) + 2) - buffer.endswith(b"\r"):
        _refuse_field_size(limits)
    if 0 < limits.head < len(buffer) - start:
        raise RequestError(431, f"the head is longer than {limits.head} bytes")


def _refuse_line_length(limits: Limits) -> NoReturn:
    raise RequestError(414, f"the request line is longer than {limits.line} bytes")


def _refuse_field_size(limits: Limits) -> NoReturn:
    raise RequestError(431, f"a header field is longer than {limits.field_size} bytes")


def _refuse_version(version: str) -> NoReturn:
    raise RequestError(505, f"HTTP/{version} is not spoken here")


def _refuse_request_line(line: bytes) -> NoReturn:
    """Name the fault of a request line (RFC 9112 section 3)."""
    parts = line.decode("latin-1").split(" ")
    if len(parts) != 3:
        raise RequestError(400, "the request line is not: method, space, target, space, version")
    method, target, _ = parts
    if grammar.METHOD.fullmatch(method) is None:
        raise RequestError(400, "the method is not a token")
    if grammar.REQUEST_TARGET.fullmatch(target) is None:
        raise RequestError(400, "the request target holds a character that must be percent-encoded")
    raise RequestError(400, "the HTTP version is malformed")


def _refuse_fields(text: str) -> NoReturn:
    """Name the fault of the first bad field line (RFC 9112 section 5)."""
    for line in text.split("\r\n"):
        name, colon, value = line.partition(":")
        if line[:1] in (" ", "\t"):
            raise RequestError(400, "a header line starts with whitespace")
        if not colon:
            raise RequestError(400, "a header line has no colon")
        if name != name.rstrip(grammar.OWS):
            raise RequestError(400, "whitespace before the colon of a header field")
        if grammar.FIELD_NAME.fullmatch(name) is None:
            raise RequestError(400, "a header name is not a token")
        if grammar.FIELD_VALUE.fullmatch(value) is None:
            raise RequestError(400, "a header value holds a control character")
    raise RequestError(400, "a header field is malformed")  # pragma: no cover - one of the above is always met
