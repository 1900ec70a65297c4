"""A lock that greenlets get in the order in which they ask for it.

gevent's own lock may go to another greenlet while the one that has waited is being woken. In a compressed stream of
frames each message depends on the former ones. So the order matters there.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from gevent.event import Event

from geventwsgi.serving.loop import switching

if TYPE_CHECKING:
    from types import TracebackType


class Turns:
    """A context manager that admits one greenlet at a time. That greenlet may enter it again."""

    __slots__ = ("_depth", "_owner", "_waiting")

    def __init__(self) -> None:
        #: The greenlet inside, and how many times it has entered. While the next greenlet is being woken, the depth is
        #: 1, and there is no owner.
        self._owner: Any = None
        self._depth = 0
        self._waiting: deque[Event] = deque()

    @property
    def taken(self) -> bool:
        """Whether it is anybody's turn."""
        return self._depth > 0

    def take(self, timeout: float | None = None) -> bool:
        """Wait for the turn; return False if it has not come within ``timeout`` seconds."""
        me = switching.current()
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
            if not came:  # the time is over, or it was killed while it waited, perhaps after its turn had come
                if turn.is_set():
                    self._pass_on()
                else:
                    self._waiting.remove(turn)
        return came

    def give(self) -> None:
        """Leave. At the outermost level the next greenlet gets its turn."""
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
