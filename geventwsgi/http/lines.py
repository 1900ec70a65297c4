"""Examine a head line by line, if it is incomplete or malformed.

The fault that comes first in the order of the bytes is the one that is named. That is what makes the answer
independent of how the bytes were cut on their way: a fault is met at the same byte whether the rest is there or not.
Nothing here runs for a head that arrives whole and well-formed.
"""

from __future__ import annotations

from geventwsgi.errors import RequestError
from geventwsgi.http import grammar
from geventwsgi.http.limits import STRICT, Leniency, Limits

CRLF = b"\r\n"


def check_unfinished_head(buffer: bytes, start: int, scanned: int, limits: Limits, leniency: Leniency) -> None:
    """Refuse an incomplete head that no further byte can make valid, so that its client need not wait for a deadline.

    :param start: where the request line begins.
    :param scanned: up to where an earlier call found no fault.
    :raises RequestError: 400, 414, 431, 501 or 505.
    """
    end = start + limits.head if limits.head else len(buffer)
    before = buffer.rfind(CRLF, start, scanned)
    if before >= 0:
        check_field_lines(buffer[before + 2 : end], limits, leniency)
    else:
        line, crlf, fields = buffer[start:end].partition(CRLF)
        if crlf:
            read_request_line(line, limits, leniency)
            check_field_lines(fields, limits, leniency)
        else:
            _check_request_start(line.removesuffix(b"\r"), limits)
    if end < len(buffer):
        raise RequestError(431, f"the head is longer than {limits.head} bytes")


def asks_head(buffer: bytes, limits: Limits, leniency: Leniency) -> bool:
    """Return whether a head that is refused begins with the sound request line of a HEAD, whatever follows it."""
    line, crlf, _ = buffer.lstrip(CRLF)[: limits.line + 2 if limits.line else None].partition(CRLF)
    if not crlf:
        return False
    try:
        return read_request_line(line, limits, leniency)[0] == "HEAD"
    except RequestError:
        return False


def check_field_lines(data: bytes, limits: Limits, leniency: Leniency = STRICT) -> None:
    """Refuse the first faulty field line of ``data``, whose last line may be unfinished.

    :raises RequestError: 400 or 431.
    """
    *lines, rest = data.split(CRLF)
    for line in lines:
        _check_field_line(line, limits, leniency)
    check_length(rest.removesuffix(b"\r"), limits.field_size, 431, "a header field")


def check_length(line: bytes, limit: int, status: int, what: str) -> None:
    """Refuse a line, whole or in part and without its CRLF, that holds a bare CR or LF or is too long.

    :param status: the status for a line that is longer than ``limit`` bytes (0: none is).
    """
    bare = grammar.CR_OR_LF.search(line)
    if bare is not None and not 0 < limit < bare.start():
        raise RequestError(400, "a bare CR or LF")
    if 0 < limit < len(line):
        raise RequestError(status, f"{what} is longer than {limit} bytes")


def read_request_line(line: bytes, limits: Limits, leniency: Leniency) -> tuple[str, str, tuple[int, int]]:
    """Return method, target and version of a request line, and name the fault of a bad one (RFC 9112 section 3).

    :raises RequestError: 400, 414, 501 or 505.
    """
    _check_request_start(line, limits)
    parts = line.decode("latin-1").split(" ")
    if len(parts) != 3:
        raise RequestError(400, "the request line is not: method, space, target, space, version")
    method, target, version = parts
    if grammar.METHOD.fullmatch(method) is None:
        raise RequestError(400, "the method is not a token")
    if grammar.REQUEST_TARGET.fullmatch(target) is None:
        raise RequestError(400, "the request target holds a character that must be percent-encoded")
    if grammar.HTTP_VERSION.fullmatch(version) is None:
        raise RequestError(400, "the HTTP version is malformed")
    if version not in ("HTTP/1.0", "HTTP/1.1") and not leniency.version:
        raise RequestError(505, f"{version} is not spoken here")
    if grammar.CONVENTIONAL_METHOD.fullmatch(method) is None and not leniency.method:
        raise RequestError(501, "a method has 3 to 20 characters, none in lower case")
    return method.upper() if leniency.casefold else method, target, (1, 1) if version >= "HTTP/1.1" else (1, 0)


def _check_request_start(line: bytes, limits: Limits) -> None:
    """Check as much of a request line as is there."""
    if line and grammar.METHOD.match(line[:1].decode("latin-1")) is None:
        raise RequestError(400, "not an HTTP request")
    check_length(line, limits.line, 414, "the request line")


def _check_field_line(line: bytes, limits: Limits, leniency: Leniency) -> None:
    """Name the fault of a bad field line (RFC 9112 section 5)."""
    check_length(line, limits.field_size, 431, "a header field")
    text = line.decode("latin-1")
    if text.startswith((" ", "\t")):
        if not leniency.folding:
            raise RequestError(400, "a header line starts with whitespace")
        value = text
    else:
        name, colon, value = text.partition(":")
        if not colon:
            raise RequestError(400, "a header line has no colon")
        _check_field_name(name, leniency)
    if grammar.FIELD_VALUE.fullmatch(value) is None:
        raise RequestError(400, "a header value holds a control character")


def _check_field_name(name: str, leniency: Leniency) -> None:
    bare_name = name.rstrip(grammar.OWS)
    if name != bare_name and not leniency.spaces:
        raise RequestError(400, "whitespace before the colon of a header field")
    if grammar.FIELD_NAME.fullmatch(bare_name) is None:
        raise RequestError(400, "a header name is not a token")
