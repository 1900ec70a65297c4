"""A lock that greenlets get in the order in which they ask for it.

gevent's own may go to whoever comes by while the one that has waited is being woken. Where what is sent depends on what
was sent before (a compressed stream of frames), that order is part of the message.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gevent.event import Event

if TYPE_CHECKING:
    from types import TracebackType


class Turns:
    """A context manager that one greenlet at a time is inside of."""

    __slots__ = ("_busy", "_waiting")

    def __init__(self) -> None:
        self._busy = False
        self._waiting: deque[Event] = deque()

    def __enter__(self) -> None:
        if not self._busy:
            self._busy = True
            return
        turn = Event()
        self._waiting.append(turn)
        try:
            turn.wait()
        except BaseException:  # killed while it waited, perhaps in the moment in which its turn came
            if turn.is_set():
                self._pass_on()
            else:
                self._waiting.remove(turn)
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._busy = False
