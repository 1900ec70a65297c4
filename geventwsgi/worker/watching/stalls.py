"""Which code keeps a worker's loop from turning (``stall_threshold``): while it lasts, and one line when it is over.

The loop notes in the shared memory when it begins a turn, and that it waits. The master looks at this
(``master/watchdog.py``) and interrupts the worker by a signal, whose handler notes where the code stands. Nothing is
killed, and the worker needs no thread.
"""

from __future__ import annotations

import os
import time
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any

from geventwsgi.observe.outputs import request_id
from geventwsgi.worker.boot_report import is_ours

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from geventwsgi.system.shared import Slot

#: The frames of a place: the innermost, and those that have called it.
FRAMES = 3


class Stalls:
    """The stalls of one worker's loop.

    :param threshold: seconds from which on a turn of the loop is a stall.
    :param warn: is called with a ``%``-style text and its arguments.
    :param served_by: returns what a greenlet serves, for a log.
    """

    def __init__(
        self, slot: Slot, threshold: float, warn: Callable[..., object], served_by: Callable[[Any], str]
    ) -> None:
        self._slot = slot
        self._threshold = threshold
        self._warn = warn
        self._served_by = served_by
        #: The samples of this turn: place, greenlet, the request for a log, and its identity.
        self._samples: list[tuple[str, str, str, str | None]] = []
        self._watchers: list[Any] = []

    def watch(self, loop: Any) -> None:
        """Begin.

        :raises TypeError: the loop cannot tell when it turns (libuv's).
        """
        # The one is called before all that a turn has to do, the other after it.
        begin, rest = loop.check(ref=False, priority=2), loop.prepare(ref=False, priority=-2)
        begin.start(self._begin)
        rest.start(self._rest)
        self._watchers += [begin, rest]

    def sample(self, frame: FrameType | None) -> None:
        """Note where the loop stands. To be called in a signal handler: it waits for nothing."""
        from greenlet import getcurrent

        since = self._slot.busy_since
        if since and time.monotonic_ns() - since >= self._threshold * 1e9 / 2:
            running = getcurrent()
            name = getattr(running, "name", None) or type(running).__name__
            serves = self._served_by(running)
            self._samples.append((place_of(frame), str(name), serves, request_id.CURRENT.get()))

    def _begin(self) -> None:
        self._slot.busy_since = time.monotonic_ns()

    def _rest(self) -> None:
        since, self._slot.busy_since = self._slot.busy_since, 0
        if self._samples:
            samples, self._samples = self._samples, []
            seconds = (time.monotonic_ns() - since) / 1e9
            if since and seconds >= self._threshold:
                self._tell(seconds, samples)

    def _tell(self, seconds: float, samples: list[tuple[str, str, str, str | None]]) -> None:
        (found, count), *_ = Counter(samples).most_common(1)
        place, greenlet, serves, identity = found
        self._slot.stalls.note(place, int(seconds * 1e9))
        self._warn(
            "The loop stood still for %.3f s (pid: %s) at %s (%s of %s samples), in %s%s",
            seconds, os.getpid(), place, count, len(samples), greenlet, serves and f" serving {serves}",
            extra={request_id.FIELD: identity},
        )  # fmt: skip


def place_of(frame: FrameType | None) -> str:
    """Return the innermost line of code of a stack, and those that have called it, without our own outside of them."""
    stack = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=50, lookup_lines=False)  # innermost first
    inner = [entry for entry in stack if not is_ours(entry.filename)] or list(stack)
    return " < ".join(f"{entry.filename}:{entry.lineno} ({entry.name})" for entry in inner[:FRAMES]) or "unknown code"
