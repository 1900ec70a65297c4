"""Parse field lines, and those fields that concern framing and connection (RFC 9112 sections 5, 6 and 9.3).

Knows which fields exist once, which are lists, and which contradict each other. It does not know the request line, nor
what an application sees of a field.

:mod:`scan` parses well-formed lines. Only if it gives up are lines examined one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.errors import RequestError
from geventwsgi.http import grammar, scan
from geventwsgi.http.limits import STRICT, Leniency, Limits
from geventwsgi.http.lines import check_field_lines

if TYPE_CHECKING:
    from collections.abc import Sequence


class Fields:
    """A head's fields and what follows from them for the message; shared by requests that repeat the same block."""

    __slots__ = (
        "cgi", "cgi_trusted", "changes", "chunked", "connection", "content_length", "expect_continue", "former",
        "here_until", "host", "items", "known", "persists", "plain", "raw", "scheme", "stamped", "takes_trailers",
        "upgrade",
    )  # fmt: skip

    #: The block as received, each line with its CRLF, by which a repetition is recognised. Set by ``head`` only, which
    #: puts the version before it, since the meaning of some fields depends on the version.
    raw: bytes
    #: (name as received, value without surrounding whitespace), in order, both decoded from latin-1.
    items: tuple[tuple[str, str], ...]
    #: RFC 9112 section 6.2; None when absent.
    content_length: int | None
    #: RFC 9112 section 6.1: Transfer-Encoding is exactly "chunked".
    chunked: bool
    #: RFC 9110 section 7.6.1: the options of all Connection fields, in lower case.
    connection: frozenset[str]
    #: RFC 9112 section 9.3: whether the client allows the connection to persist.
    persists: bool
    #: RFC 9110 section 10.1.1; never in HTTP/1.0.
    expect_continue: bool
    #: The value of Host; None when absent.
    host: str | None
    #: RFC 9110 section 7.8: an Upgrade field that Connection names; never in HTTP/1.0.
    upgrade: bool
    #: RFC 9110 sections 6.5.1 and 10.1.4: whether the client merges or forwards trailers.
    takes_trailers: bool
    #: Whether X-Request-Start may be among them, a time that a forwarder notes.
    stamped: bool
    #: Set by :mod:`known`: whether these fields have come again, on another connection.
    known: bool
    #: Used by ``wsgi.environ`` only: the part of an environ that comes from these fields, if they are known; and the
    #: same for a trusted peer.
    cgi: dict[str, Any] | None
    cgi_trusted: dict[str, Any] | None
    #: Used by ``http1_exchange`` only: the scheme that a trusted forwarder has sent; None until it is first needed.
    scheme: str | None
    #: Set by :meth:`lead_here`; 0 if that is not known.
    here_until: float
    #: Whether each name occurs once, in a line of its own, and without an underscore: then each line is one item, and
    #: its key in the environ depends on no other line.
    plain: bool
    #: If these fields differ from the connection's former ones in some values only (:func:`changed_fields`): the items
    #: with new values, and the former fields. Else () and None.
    changes: tuple[tuple[str, str], ...]
    former: Fields | None

    def lead_here(self, until: float) -> None:
        """Note until when (``clock.monotonic``) they are known to lead to this worker; for ``http1_affinity`` only."""
        self.here_until = until


def parse_fields(block: bytes, limits: Limits, leniency: Leniency = STRICT) -> Fields:
    """Parse a head's field lines, each with its CRLF, as those of an HTTP/1.1 request.

    :raises RequestError: 400, 417, 431 or 501.
    """
    items = parse_field_lines(block, limits, leniency)
    fields = Fields()
    fields.raw = block
    fields.items = tuple(items)
    fields.cgi = fields.cgi_trusted = fields.scheme = fields.former = None
    fields.known = False
    fields.here_until = 0.0
    fields.changes = ()
    special: dict[str, list[str]] = {}
    names = set()
    for name, value in items:
        lower = name.lower()
        names.add(lower)
        if lower in _SPECIAL:
            special.setdefault(lower, []).append(value)
    fields.plain = len(names) == len(items) == block.count(b"\n") and b"_" not in "".join(names).encode("latin-1")
    fields.host = _host(special.get("host"))
    fields.connection = frozenset(_list(special.get("connection", ())))
    fields.persists = "close" not in fields.connection
    fields.stamped = "x-request-start" in names
    fields.upgrade = "upgrade" in special and "upgrade" in fields.connection
    fields.expect_continue = _expect_continue(special.get("expect", ()))
    fields.takes_trailers = any(
        coding.partition(";")[0].strip() == "trailers" for coding in _list(special.get("te", ()))
    )
    fields.chunked = _chunked(special.get("transfer-encoding"))
    fields.content_length = _content_length(special.get("content-length"))
    if fields.chunked and fields.content_length is not None:  # RFC 9112 section 6.3: typical of request smuggling
        raise RequestError(400, "Content-Length and Transfer-Encoding exclude each other")
    if len(special.get("content-type", ())) > 1:  # a proxy and the application could each read another one
        raise RequestError(400, "more than one Content-Type")
    return fields


def changed_fields(last: Fields, raw: bytes, limits: Limits) -> Fields | None:
    """Return the fields of a block that differs from ``last``'s in values without a meaning here, such as Cookie.

    A browser's requests mostly differ in such values only, and to compare lines costs a fraction of parsing them.

    :param raw: as :attr:`Fields.raw`.
    :returns: None if it differs in more, or if a line may be faulty. Then the whole block has to be parsed.
    """
    if not last.plain:
        return None
    found = scan.changed_items(last.raw, raw, last.items)
    if found is None or 0 < limits.field_size < len(raw):  # a line may be too long
        return None
    items, changes = found
    for name, _ in changes:
        if name.lower() in _SPECIAL:
            return None
    return _with_changes(last, raw, items, changes)


def _with_changes(
    last: Fields, raw: bytes, items: tuple[tuple[str, str], ...], changes: tuple[tuple[str, str], ...]
) -> Fields:
    fields = Fields.__new__(Fields)
    fields.raw, fields.items, fields.changes = raw, items, changes
    fields.plain = True
    fields.cgi = fields.cgi_trusted = fields.scheme = None
    fields.known = False
    fields.here_until = 0.0
    fields.former = last
    last.former = None  # so that earlier fields are not kept alive
    fields.host, fields.connection, fields.upgrade = last.host, last.connection, last.upgrade
    fields.persists, fields.stamped = last.persists, last.stamped
    fields.expect_continue, fields.takes_trailers = last.expect_continue, last.takes_trailers
    fields.chunked, fields.content_length = last.chunked, last.content_length
    return fields


def parse_field_lines(block: bytes, limits: Limits, leniency: Leniency = STRICT) -> list[tuple[str, str]]:
    """Split field lines into (name, value); the same grammar serves heads and trailers.

    :raises RequestError: 400 or 431.
    """
    items = scan.field_items(block)
    if items is None:
        check_field_lines(block, limits, leniency)  # raises, unless the fault is permitted
        block = _mended(block, leniency)
        items = scan.field_items(block)
    if items is None:  # the first line continues none
        raise RequestError(400, "a header line starts with whitespace")
    if 0 < limits.field_size < len(block):
        for line in block.split(b"\r\n"):
            if len(line) > limits.field_size:
                raise RequestError(431, f"a header field is longer than {limits.field_size} bytes")
    if 0 < limits.fields < len(items):  # checked last, since it is known only after the last line
        raise RequestError(431, f"more than {limits.fields} header fields")
    return items


def _mended(block: bytes, leniency: Leniency) -> bytes:
    """Return field lines without the faults that ``leniency`` permits."""
    text = block.decode("latin-1")
    if leniency.folding:
        text = grammar.OBS_FOLD.sub(" ", text)
    if leniency.spaces:
        text = grammar.SPACED_FIELD_NAME.sub(r"\1:", text)
    return text.encode("latin-1")


_SPECIAL = frozenset(
    ("connection", "content-length", "content-type", "expect", "host", "te", "transfer-encoding", "upgrade")
)  # fmt: skip


def _list(values: Sequence[str]) -> list[str]:
    """Return the lower-cased elements of a comma-separated list over several lines (RFC 9110 section 5.6.1)."""
    return [item.strip(grammar.OWS).lower() for value in values for item in value.split(",") if item.strip(grammar.OWS)]


def _host(values: list[str] | None) -> str | None:
    """RFC 9112 section 3.2: at most one Host line, and that one valid."""
    if values is None:
        return None
    if len(values) > 1:
        raise RequestError(400, "more than one Host field")
    if not is_host(values[0]):
        raise RequestError(400, "Host is not a host")
    return values[0]


def is_host(text: str) -> bool:
    """Tell whether it is a host, with or without a port (RFC 9110 section 7.2)."""
    host = grammar.LITERAL_HOST if text.startswith("[") else grammar.NAMED_HOST
    return host.fullmatch(text) is not None


def _expect_continue(values: Sequence[str]) -> bool:
    """RFC 9110 section 10.1.1: the only expectation there is; any other is answered 417."""
    expectations = _list(values)
    if any(expectation != "100-continue" for expectation in expectations):
        raise RequestError(417, "the only expectation known is 100-continue")
    return bool(expectations)


def _chunked(values: list[str] | None) -> bool:
    """RFC 9112 sections 6.1 and 6.3: the last coding is chunked, applied once; no other coding is implemented here."""
    if values is None:
        return False
    if len(values) > 1:
        raise RequestError(400, "more than one Transfer-Encoding")
    codings = _list(values)
    if codings == ["chunked"]:
        return True
    if codings[-1:] != ["chunked"] or codings.count("chunked") > 1:
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
