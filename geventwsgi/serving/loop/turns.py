"""A lock that greenlets get in the order in which they ask for it.

gevent's own may go to whoever comes by while the one that has waited is being woken. Where what is sent depends on what
was sent before (a compressed stream of frames), that order is part of the message.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from gevent.event import Event
from greenlet import getcurrent

if TYPE_CHECKING:
    from types import TracebackType


class Turns:
    """A context manager that one greenlet at a time is inside of; that greenlet may enter it again."""

    __slots__ = ("_depth", "_owner", "_waiting")

    def __init__(self) -> None:
        #: The greenlet whose turn it is, and how many times it is inside. Between two turns, while the next greenlet is
        #: being woken, the depth is 1 and there is no owner.
        self._owner: Any = None
        self._depth = 0
        self._waiting: deque[Event] = deque()

    def take(self, timeout: float | None = None) -> bool:
        """Wait for the turn; return False if it has not come within ``timeout`` seconds."""
        me = getcurrent()
        if self._depth and self._owner is not me:
            if not self._wait(timeout):
                return False
        else:
            self._depth += 1
        self._owner = me
        return True

    def _wait(self, timeout: float | None) -> bool:
        turn = Event()
        self._waiting.append(turn)
        came = False
        try:
            turn.wait(timeout)
            came = turn.is_set()
        finally:
            if not came:  # out of time, or killed while it waited, perhaps in the moment in which its turn came
                if turn.is_set():
                    self._pass_on()
                else:
                    self._waiting.remove(turn)
        return came

    def give(self) -> None:
        """Let the next greenlet have its turn, if this one is not inside once more."""
        if self._depth > 1:
            self._depth -= 1
        else:
            self._pass_on()

    def _pass_on(self) -> None:
        self._owner = None
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._depth = 0

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.give()
