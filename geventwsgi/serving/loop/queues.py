"""Queues whose memory is kept while they are empty.

Mostly one connection is ready in a turn of the loop. A list that has one item and then none gets memory and returns it
each time, which takes a fiftieth of a request. So does the next one, and each request goes through three of them.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any

__all__ = ["Queue"]


class Queue(deque[Any]):
    """Objects in the order in which they were put. Each method is one step for a signal's handler."""

    __slots__ = ()

    put = deque.append
    #: Remove and return the first, or the last; IndexError if there is none.
    take = deque.popleft
    take_last = deque.pop


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.serving.loop._queues import Queue  # type: ignore[no-redef]  # the twin in C
