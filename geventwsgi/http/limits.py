"""The limits and permitted faults that the parsers of this folder get instead of settings."""

from __future__ import annotations


class Limits:
    """The bounds of a request, in bytes but for ``fields``; 0 means no bound."""

    __slots__ = ("body", "field_size", "fields", "head", "line")

    def __init__(
        self, line: int = 4094, fields: int = 100, field_size: int = 8190, head: int = 65536, body: int = 0
    ) -> None:
        #: The request line without its CRLF; beyond it 414 (``limit_request_line``).
        self.line = line
        #: Number of field lines; beyond it 431 (``limit_request_fields``).
        self.fields = fields
        #: One field line without its CRLF; beyond it 431 (``limit_request_field_size``).
        self.field_size = field_size
        #: The whole head; beyond it 431.
        self.head = head
        #: The decoded body; beyond it 413 (``limit_request_body``).
        self.body = body


class Leniency:
    """Faults that are permitted, although a proxy in front may read such a head differently; none by default.

    It concerns heads only. Trailers stay strict, since old clients send none.
    """

    __slots__ = ("casefold", "folding", "method", "spaces", "version")

    def __init__(
        self,
        folding: bool = False,
        spaces: bool = False,
        method: bool = False,
        version: bool = False,
        casefold: bool = False,
    ) -> None:
        #: Replace obs-fold by a space (RFC 9112 section 5.2; ``permit_obsolete_folding``).
        self.folding = folding
        #: Ignore whitespace before a field's colon, against RFC 9112 section 5.1 (``strip_header_spaces``).
        self.spaces = spaces
        #: Take any token for a method (``permit_unconventional_http_method``).
        self.method = method
        #: Serve other versions as the nearest of 1.0 and 1.1 (``permit_unconventional_http_version``).
        self.version = version
        #: Turn methods into upper case (``casefold_http_method``); lower case needs ``method`` as well.
        self.casefold = casefold


STRICT = Leniency()
