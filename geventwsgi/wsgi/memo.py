"""A bounded memory for small pure functions of strings: header names and status lines repeat endlessly.

It knows nothing of WSGI. ``functools.lru_cache`` would do the same at three times the price of a hit, which is what
the hot path pays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: Entries after which everything is forgotten: what a hostile client can fill is small, and it heals by itself.
LIMIT = 1024
#: Characters of the longest key that is remembered.
KEY_LIMIT = 64
_NOTHING = object()


class Memo:
    """``memo[key]`` is ``function(key)``, computed once while it is remembered.

    :param function: what it raises passes through, and nothing is remembered.
    """

    __slots__ = ("_function", "_values")

    def __init__(self, function: Callable[[str], Any]) -> None:
        self._function = function
        self._values: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, key: str) -> Any:
        if type(key) is not str:
            return self._function(key)  # it may claim to equal any other
        value = self._values.get(key, _NOTHING)
        if value is _NOTHING:
            value = self._function(key)
            if len(key) <= KEY_LIMIT:
                if len(self._values) >= LIMIT:
                    self._values.clear()
                self._values[key] = value
        return value
