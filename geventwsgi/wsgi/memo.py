"""A bounded memory for small pure functions of strings: header names and status lines repeat endlessly.

It knows nothing of WSGI. ``functools.lru_cache`` would do the same at three times the price of a hit, which is what
the hot path pays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: Entries after which everything is forgotten: what a hostile client can fill is small, and it heals by itself.
LIMIT = 1024
#: Characters of the longest key that is remembered.
KEY_LIMIT = 64


class Memo(dict[str, T]):
    """``memo[key]`` is ``function(key)``, computed once while it is remembered.

    :param function: what it raises passes through, and nothing is remembered.
    """

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[str], T]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, key: str) -> T:
        value = self._function(key)
        if len(key) <= KEY_LIMIT:
            if len(self) >= LIMIT:
                self.clear()
            self[key] = value
        return value
