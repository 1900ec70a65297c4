"""The time for which one greenlet may publish or deliver messages before the loop turns.

Thousands of messages that are published or delivered without a pause would keep every other client waiting.
"""

from __future__ import annotations

from typing import Any

from gevent import get_hub
from greenlet import getcurrent

from geventwsgi import clock

#: Seconds of work on messages, after which other greenlets run.
SHARE = 0.003
#: Seconds of a timer that ends in the loop's next iteration. A callback would not do: the loop may not look at sockets
#: between two callbacks.
ONE_ITERATION = 1e-9


class Share:
    """Measures the work on messages since the loop last turned."""

    def __init__(self) -> None:
        self._since = 0.0
        #: Whether a callback waits for the loop's next turn.
        self._marked = False

    def spend(self) -> None:
        """Wait for one turn of the loop if the share is spent; called after each message. In gevent's hub, do nothing.

        Every caller waits for subscribers as well (:meth:`.Channel.pace`).
        """
        hub: Any = get_hub()
        if not self._marked:
            self._since = clock.monotonic()
            self._marked = True
            hub.loop.run_callback(self._turned)
        elif clock.monotonic() - self._since > SHARE and getcurrent() is not hub:
            timer = hub.loop.timer(ONE_ITERATION)
            try:
                hub.wait(timer)
            finally:
                timer.close()
            self._since = clock.monotonic()

    def _turned(self) -> None:
        self._marked = False


share = Share()
