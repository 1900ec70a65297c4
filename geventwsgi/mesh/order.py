"""The order of what many publishers send: by tickets, which all of them draw from one roll.

What comes before something that was published earlier waits for it, so that every process hears the same order. What
does not come in time is given up; if it comes later it is let through out of turn. Knows no process, no channel and no
clock.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Order(Generic[T]):
    """Takes items with their tickets as they come, and gives them in order.

    :param last: the ticket after which it begins.
    :param limit: the size of all that waits, from which on what it waits for is given up.
    """

    def __init__(self, last: int, limit: int) -> None:
        #: The ticket that is to come next, and the one below which none is waited for.
        self._next = last + 1
        self._floor = 0
        self._limit = limit
        self._size = 0
        #: What waits for its turn, with its size; a heap of its tickets.
        self._waiting: dict[int, tuple[T, int]] = {}
        self._tickets: list[int] = []
        #: What came after it was given up.
        self._late: deque[T] = deque()

    @property
    def blocked(self) -> bool:
        """Whether something waits for an earlier ticket, once :meth:`pop` has said that there is no more."""
        return bool(self._tickets)

    @property
    def newest(self) -> int:
        """The highest ticket that waits for an earlier one; 0 if none does."""
        return max(self._tickets, default=0)

    def items(self) -> list[T]:
        """Return what waits for something earlier."""
        return [item for item, _ in self._waiting.values()]

    def put(self, ticket: int, item: T, size: int = 0) -> None:
        """Take in an item of this size; a second one of the same ticket is dropped, if the first still waits."""
        if ticket < self._next:
            self._late.append(item)
        elif ticket not in self._waiting:
            self._waiting[ticket] = item, size
            heapq.heappush(self._tickets, ticket)
            self._size += size
            if self._size > self._limit:
                self.give_up(self.newest)

    def give_up(self, ticket: int) -> None:
        """Wait no longer for anything up to this ticket."""
        self._floor = max(self._floor, ticket + 1)

    def pop(self) -> T | None:
        """Return the next item; None if an earlier one is waited for, or there is none."""
        if self._late:
            return self._late.popleft()
        if self._next < self._floor and self._next not in self._waiting:
            self._next = min([self._floor, *self._tickets[:1]])
        found = self._waiting.pop(self._next, None)
        if found is None:
            return None
        self._next += 1
        heapq.heappop(self._tickets)
        self._size -= found[1]
        return found[0]
