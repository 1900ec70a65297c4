"""Parse a request's head: bytes in, :class:`RequestHead` out, None for "more", or :class:`RequestError`.

Knows RFC 9112 sections 2 and 3: where a head ends, its request line, the forms of a target. The fields are
:mod:`fields`' business. It does not know where the bytes come from, nor what an application sees of them.

:mod:`scan` parses a well-formed head. Only if it gives up is the head examined line by line, to name the fault. The
fields of the previous head on the connection are remembered: clients repeat their header block byte for byte, and
comparing it costs a fraction of parsing it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi.errors import RequestError
from geventwsgi.http import fields as blocks
from geventwsgi.http import grammar, scan
from geventwsgi.http.fields import Fields, is_host, parse_field_lines, parse_fields
from geventwsgi.http.limits import STRICT, Leniency, Limits
from geventwsgi.http.lines import check_unfinished_head, read_request_line

if TYPE_CHECKING:
    from geventwsgi.http.known import KnownBlocks

__all__ = ["Fields", "Leniency", "Limits", "RequestHead", "parse_field_lines", "parse_fields", "parse_head"]


class RequestHead:
    """One request's head."""

    __slots__ = (
        "authority", "fields", "head_only", "keep_alive", "method", "minor", "path", "query", "size", "target",
        "tunnel", "version",
    )  # fmt: skip

    def begin(
        self, method: str, target: str, version: tuple[int, int], authority: str | None, path: str, query: str,
        fields: Fields, size: int,
    ) -> None:  # fmt: skip
        """Begin with what was parsed; a method since a call of the class takes longer than all that is done here."""
        self.method = method
        #: As on the wire.
        self.target = target
        self.version = version
        self.minor = version[1]
        #: The host of an absolute-form or authority-form target, which replaces Host (RFC 9112 section 3.2.2).
        self.authority = authority
        #: Still percent-encoded; "*" for the asterisk-form, "" for the authority-form.
        self.path = path
        self.query = query
        self.fields = fields
        #: Bytes that the head took of the buffer.
        self.size = size
        #: Whether the method is HEAD, and whether it is CONNECT: each response needs it, and comparing texts takes
        #: longer.
        self.head_only = method == "HEAD"
        self.tunnel = method == "CONNECT"
        #: Whether the connection may persist. After CONNECT it may not: the bytes that follow are meant for a tunnel,
        #: whatever the response (RFC 9931 section 8).
        self.keep_alive = self.fields.persists and not self.tunnel

    def without_fields(self) -> RequestHead:
        """Return a head without fields, for a request that is kept for long and only named in logs."""
        return RequestHead.of_line(self.method, self.target, self.minor)

    @classmethod
    def of_line(cls, method: str, target: str, minor: int) -> RequestHead:
        """Return a head that has only a request line."""
        head = cls.__new__(cls)
        head.begin(method, target, _VERSIONS[str(minor)], None, "", "", _NO_FIELDS, 0)
        return head

    @property
    def uri(self) -> str:
        """The request target, under the name that gunicorn's hooks know."""
        return self.target

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The fields with upper-case names, as gunicorn's hooks know them."""
        return [(name.upper(), value) for name, value in self.fields.items]

    @property
    def asked_scheme(self) -> str | None:
        """The scheme of an absolute-form target, in lower case: None for the other forms."""
        return None if self.target[0] == "/" or "://" not in self.target else self.target.partition(":")[0].lower()


_NO_FIELDS = parse_fields(b"", Limits())
_NO_FIELDS.stamped = True  # as far as anybody knows
_VERSIONS = {"0": (1, 0), "1": (1, 1)}
#: Bytes of a request line's end that count towards the fields: "1.1" and the CRLF.
_VERSION_SIZE = 5


def parse_head(
    buffer: bytes, limits: Limits, last: Fields | None = None, scanned: int = 0, leniency: Leniency = STRICT,
    known: KnownBlocks | None = None,
) -> RequestHead | None:  # fmt: skip
    """Return the head at the start of ``buffer``, or None while it is incomplete.

    :param buffer: what the client sent, from the first byte of the request on.
    :param last: the fields of the previous request on this connection.
    :param scanned: how many bytes of ``buffer`` an earlier call has examined.
    :param leniency: which faults are permitted.
    :param known: known blocks, used if there is no previous request.
    :raises RequestError: 400, 414, 417, 431, 501 or 505, as soon as the bytes at hand cannot become a valid head.
    """
    start = scan.start_of_head(buffer)
    end = scan.end_of_head(buffer, scanned - 3 if scanned > 5 else start)
    if end < 0 or 0 < limits.head < end + 4 - start:
        check_unfinished_head(buffer, start, scanned, limits, leniency)
        return None
    line_end = scan.end_of_line(buffer, start)
    line = scan.request_line(buffer, start, line_end)
    if line is None or 0 < limits.line < line_end - start:
        method, target, version = read_request_line(buffer[start:line_end], limits, leniency)
        last = known = None  # their fields may have been read under another version
    else:
        method, target, minor = line
        version = _VERSIONS[minor]

    raw_start = line_end + 2 - _VERSION_SIZE
    fields = None
    if last is not None:
        if end + 2 - raw_start == len(last.raw) and buffer.startswith(last.raw, raw_start):
            fields = last
        else:
            fields = blocks.changed_fields(last, buffer[raw_start : end + 2], limits)
    elif known is not None:
        fields = known.find(buffer[raw_start : end + 2])
    if fields is None:
        fields = _fresh_fields(buffer[raw_start : end + 2], version, limits, leniency)
        if known is not None:
            known.add(fields)

    if target[0] == "/" and method != "CONNECT":
        authority = None
        path, _, query = target.partition("?")
    else:
        authority, path, query = _special_target(method, target, fields)
    head = RequestHead.__new__(RequestHead)
    head.begin(method, target, version, authority, path, query, fields, end + 4)
    return head


def _fresh_fields(raw: bytes, version: tuple[int, int], limits: Limits, leniency: Leniency) -> Fields:
    """Parse the fields after a version, and apply what depends on it."""
    fields = parse_fields(raw[_VERSION_SIZE:], limits, leniency)
    fields.raw = raw
    if version == (1, 1):
        if fields.host is None:
            raise RequestError(400, "an HTTP/1.1 request has a Host field")  # RFC 9112 section 3.2
    elif fields.chunked:
        raise RequestError(400, "Transfer-Encoding does not exist in HTTP/1.0")  # RFC 9112 section 6.1
    else:
        fields.persists = fields.persists and "keep-alive" in fields.connection
        fields.expect_continue = False  # RFC 9110 section 10.1.1
        fields.upgrade = False  # RFC 9110 section 7.8
    return fields


def _special_target(method: str, target: str, fields: Fields) -> tuple[str | None, str, str]:
    """Return authority, path and query of a target that is not in origin-form (RFC 9112 sections 3.2.2 to 3.2.4)."""
    if method == "CONNECT":
        return _tunnel(target, fields), "", ""
    if target == "*" and method == "OPTIONS":
        return None, "*", ""
    match = grammar.ABSOLUTE_FORM.fullmatch(target)
    if match is None or not is_host(match[1]) or match[1].startswith(":"):
        raise RequestError(400, "the request target is neither a path nor an absolute URI")
    # Without a path OPTIONS asks about the server as a whole (RFC 9110 section 4.2.3).
    root = "*" if method == "OPTIONS" and match[3] is None else "/"
    return match[1], match[2] or root, match[3] or ""


def _tunnel(target: str, fields: Fields) -> str:
    """Return the authority of a CONNECT (RFC 9110 section 9.3.6)."""
    match = grammar.AUTHORITY_FORM.fullmatch(target)
    if match is None or not 0 < int(match[1]) < 65536:
        raise RequestError(400, "the target of CONNECT is host:port")
    if fields.chunked or fields.content_length:
        raise RequestError(400, "a CONNECT request has no content")
    return target
