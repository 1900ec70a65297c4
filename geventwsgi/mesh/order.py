"""The order of the messages of many publishers: by their tickets, which are drawn from one counter.

A message waits for those with lower tickets, so that every process gets the same order. Tickets of messages that do not
come to this process are skipped. A message that does not come in time is given up. If it comes later, it is let through
out of order. This module knows no process, no channel and no clock.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Order(Generic[T]):
    """Takes items in any order and returns them in the order of their tickets.

    :param last: the ticket after which it begins.
    :param limit: the most size of the items that wait. Beyond it, missing tickets are given up.
    :param skip: returns the first ticket of a range (start, stop) that may come here; stop if there is none.
    """

    def __init__(self, last: int, limit: int, skip: Callable[[int, int], int] = lambda start, _stop: start) -> None:
        #: The ticket that is to come next.
        self.next = last + 1
        self._skip = skip
        #: The ticket below which missing ones are given up.
        self._floor = 0
        self._limit = limit
        self._size = 0
        #: The items that wait, with their size, by ticket; and a heap of their tickets.
        self._waiting: dict[int, tuple[T, int]] = {}
        self._tickets: list[int] = []
        #: The items that came after they were given up.
        self._late: deque[T] = deque()

    @property
    def blocked(self) -> bool:
        """Whether items wait for an earlier ticket. To be asked after :meth:`pop` has returned None."""
        return bool(self._tickets)

    @property
    def newest(self) -> int:
        """The highest ticket that waits for an earlier one; 0 if none does."""
        return max(self._tickets, default=0)

    def items(self) -> list[T]:
        """Return the items that wait."""
        return [item for item, _ in self._waiting.values()]

    def put(self, ticket: int, item: T, size: int = 0) -> None:
        """Take in an item. It is dropped if one with the same ticket waits."""
        if ticket < self.next:
            self._late.append(item)
        elif ticket not in self._waiting:
            self._waiting[ticket] = item, size
            heapq.heappush(self._tickets, ticket)
            self._size += size
            if self._size > self._limit:
                self.give_up(self.newest)

    def give_up(self, ticket: int) -> None:
        """Give up missing items up to this ticket."""
        self._floor = max(self._floor, ticket + 1)

    def pass_over(self, stop: int) -> None:
        """Skip the tickets below ``stop`` that do not come here, up to the first one that may."""
        if self.next < stop:
            self.next = self._skip(self.next, stop)

    def pop(self) -> T | None:
        """Return the next item; None if an earlier one is waited for, or there is none."""
        if self._late:
            return self._late.popleft()
        found = self._waiting.pop(self.next, None)
        if found is None:
            if self.next < self._floor:
                self.next = min([self._floor, *self._tickets[:1]])
            if not self._tickets:
                return None
            self.pass_over(self._tickets[0])
            found = self._waiting.pop(self.next, None)
            if found is None:
                return None
        self.next += 1
        heapq.heappop(self._tickets)
        self._size -= found[1]
        return found[0]
