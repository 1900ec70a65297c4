"""Header blocks that many connections send: parsed once for all of them.

A balancer's probes, or the clients of one program, open one connection after the other with the same block. Knows bytes
and fields. Blocks with credentials are not kept, since they belong to a user, and large ones neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geventwsgi.http.fields import Fields

#: Number of blocks after which all are dropped; bytes of the largest block that is remembered.
LIMIT, SIZE_LIMIT = 64, 1024
_PRIVATE = frozenset(("authorization", "cookie", "proxy-authorization"))


class KnownBlocks:
    """The fields of blocks seen lately by one server, with one set of limits."""

    __slots__ = ("_fields",)

    def __init__(self) -> None:
        self._fields: dict[bytes, Fields] = {}

    def find(self, raw: bytes) -> Fields | None:
        """Return the fields of a block, if it is known.

        :param raw: as :attr:`.Fields.raw`.
        """
        fields = self._fields.get(raw)
        if fields is not None:
            fields.known = True
        return fields

    def add(self, fields: Fields) -> None:
        """Remember the fields of a block, if it may come again and has nothing private."""
        if not fields.plain or len(fields.raw) > SIZE_LIMIT or fields.content_length is not None:
            return
        if not _PRIVATE.isdisjoint([name.lower() for name, _ in fields.items]):
            return
        if len(self._fields) >= LIMIT:
            self._fields.clear()
        self._fields[fields.raw] = fields
