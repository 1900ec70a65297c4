"""What a connection's environs have in common while its header block repeats. Only ``environ`` uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geventwsgi.http.head import Fields, RequestHead


class Repeated:
    """The last request's fields, and the environ that a request with the same fields begins with."""

    __slots__ = ("environ", "fields", "head")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        #: None before the second request, and after one that differs in more than a few values.
        self.environ: dict[str, Any] | None = None
        #: Whose request line ``environ`` has; None if it has none yet.
        self.head: RequestHead | None = None
