"""For how long a loop is held at the most: what the clients of everybody else wait for."""

from __future__ import annotations

import time

import gevent


class Held:
    """Measures the loop of the thread that makes it, in processor time of that thread: others' work does not count."""

    def __init__(self) -> None:
        #: Seconds of the longest turn so far.
        self.longest = 0.0
        self._since = time.thread_time()
        self._watcher = gevent.get_hub().loop.prepare()
        self._watcher.start(self._turn)

    def _turn(self) -> None:
        now = time.thread_time()
        self.longest = max(self.longest, now - self._since)
        self._since = now

    def close(self) -> None:
        """Measure no more."""
        self._watcher.close()
