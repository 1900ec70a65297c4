"""The parts of a message that is not complete yet: as much memory as they have bytes, however small each of them is."""

from __future__ import annotations

from typing import Any

#: Parts that are kept apart. Each takes fifty bytes, whatever its own size, so that more are joined.
APART = 1024


class Message:
    """A message that is not complete yet; used again for the next. All its parts have the same type."""

    __slots__ = ("_joined", "_parts")

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self._joined: list[Any] = []

    def add(self, part: Any) -> None:
        """Take in a part that is not empty."""
        self._parts.append(part)
        if len(self._parts) >= APART:
            self._joined.append(part[:0].join(self._parts))
            self._parts.clear()

    def take(self, last: Any) -> Any:
        """Return the whole message, which ends with ``last``, and begin the next one."""
        if not self._parts and not self._joined:
            return last
        message = last[:0].join([*self._joined, *self._parts, last])
        self._parts.clear()
        self._joined.clear()
        return message
