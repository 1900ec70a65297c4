"""How many requests a worker runs at once."""

from __future__ import annotations

from gevent.lock import Semaphore


class Slots:
    """The bound on requests in flight (``worker_connections``), shared by a worker's servers.

    A request beyond it waits for its turn, in order; idle connections take no slot.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._semaphore = Semaphore(limit)
        self.acquire = self._semaphore.acquire
        self.release = self._semaphore.release

    @property
    def in_flight(self) -> int:
        """Requests that hold a slot."""
        return self.limit - int(self._semaphore.counter)
