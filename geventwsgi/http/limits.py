"""The limits and permitted faults that the parsers of this folder get instead of settings."""

from __future__ import annotations


class Limits:
    """The bounds of a request in bytes, ``fields`` excepted; with 0 there is none."""

    __slots__ = ("body", "field_size", "fields", "head", "line")

    def __init__(self, line: int = 0, fields: int = 0, field_size: int = 0, head: int = 0, body: int = 0) -> None:
        #: The length of the request line without its CRLF; a longer one gets 414 (``limit_request_line``).
        self.line = line
        #: The number of field lines; more get 431 (``limit_request_fields``).
        self.fields = fields
        #: The length of a field line without its CRLF; a longer one gets 431 (``limit_request_field_size``).
        self.field_size = field_size
        #: The length of the whole head; a longer one gets 431.
        self.head = head
        #: The length of the decoded body; a longer one gets 413 (``limit_request_body``).
        self.body = body


class Leniency:
    """Faults that a head may have, although a proxy in front may read such a head differently; none by default.

    Trailers may have none of them: the old clients that need this send no trailers.
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
        #: Turn methods into upper case (``casefold_http_method``). Lower case itself is only accepted with ``method``.
        self.casefold = casefold


STRICT = Leniency()
