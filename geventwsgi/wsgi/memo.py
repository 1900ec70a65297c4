"""A bounded memory for results of small pure functions of strings, such as header names and status lines.

``functools.lru_cache`` would take three times as long for a result that it remembers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: Number of entries after which all are dropped. So a hostile client can fill only little, and not for long.
LIMIT = 1024
#: Characters of the longest key that is remembered.
KEY_LIMIT = 64
_NOTHING = object()


class Memo:
    """``memo[key]`` is ``function(key)``, computed once while it is remembered.

    :param function: an exception that it raises is passed on, and nothing is remembered.
    """

    __slots__ = ("_function", "_values")

    def __init__(self, function: Callable[[str], Any]) -> None:
        self._function = function
        self._values: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, key: str) -> Any:
        if type(key) is not str:
            return self._function(key)  # a derived type may claim to be equal to any key
        value = self._values.get(key, _NOTHING)
        if value is _NOTHING:
            value = self._function(key)
            if len(key) <= KEY_LIMIT:
                if len(self._values) >= LIMIT:
                    self._values.clear()
                self._values[key] = value
        return value
