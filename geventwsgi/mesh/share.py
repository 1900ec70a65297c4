"""How long one greenlet may work on messages before the loop turns: whoever publishes, delivers or tells many.

What is published or delivered without a wait, thousands of messages on end, would keep every other client waiting.
"""

from __future__ import annotations

from typing import Any

from gevent import get_hub
from greenlet import getcurrent

from geventwsgi import clock

#: Seconds of work on messages after which the others get their turn.
SHARE = 0.003
#: Seconds, as few as make gevent wait for the loop's next iteration. Between callbacks it may not look at sockets.
ONE_ITERATION = 1e-9


class Share:
    """What this process has worked on messages since its loop last turned."""

    def __init__(self) -> None:
        self._since = 0.0
        #: Whether the loop is to say when it turns.
        self._marked = False

    def spend(self) -> None:
        """Wait for one turn of the loop if the share is spent; called after each message. In gevent's hub, do nothing.

        Nothing waits that would not wait for subscribers as well (:meth:`.Channel.pace`).
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
