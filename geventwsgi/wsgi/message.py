"""What has come of a message: as much memory as it has bytes, however small the pieces are in which it comes."""

from __future__ import annotations

from typing import Any

#: Pieces that are kept apart. Each takes fifty bytes, whatever its own size, so that more are joined.
APART = 1024


class Message:
    """A message that is not complete yet; used again for the next.

    :param max_size: bytes at the most; 0 for any number.
    """

    __slots__ = ("_joined", "_kind", "_max_size", "_pieces", "_size")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        #: The empty message of its type.
        self._kind: Any = b""
        self._pieces: list[Any] = []
        self._joined: list[Any] = []
        self._size = 0

    def add(self, piece: str | bytes | bytearray) -> bool:
        """Take in a piece; return False if the message is too large with it. All pieces have the same type."""
        if not self._size:
            self._kind = "" if isinstance(piece, str) else b""
        if piece:
            self._pieces.append(piece)
            self._size += len(piece) if not isinstance(piece, str) or piece.isascii() else len(piece.encode())
            if len(self._pieces) >= APART:
                self._joined.append(self._kind.join(self._pieces))
                self._pieces.clear()
        return not self._max_size or self._size <= self._max_size

    def take(self) -> str | bytes:
        """Return the message, which is complete, and begin the next one."""
        message: str | bytes = self._kind.join([*self._joined, *self._pieces])
        self._pieces.clear()
        self._joined.clear()
        self._size = 0
        return message
