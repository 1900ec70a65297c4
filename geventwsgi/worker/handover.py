"""What a worker that ends gives to the workers that go on: the connections that wait for their clients or for messages.

How a connection is packed and passed is the business of ``serving``.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from gevent import joinall, sleep, spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from geventwsgi.serving.server import WSGIServer
    from geventwsgi.system.shared import Seat, Slot

#: Seconds for the workers that end at the same time to say so.
MOMENT = 0.02
#: Bits of a worker's number that are its age.
AGE = (1 << 32) - 1


class Others(NamedTuple):
    """The workers that take connections."""

    slot: Slot
    #: This worker's age.
    age: int
    #: Whether the server is to go on; if not, the others end as well.
    goes_on: Callable[[], bool]

    def seats(self) -> list[Seat]:
        """Return those that began after this worker, since at a reload the older ones end; without any, all."""
        if not self.goes_on():
            return []
        others = [seat for seat in self.slot.seats() if seat[0] != self.slot.index]
        return [seat for seat in others if seat[1] & AGE > self.age] or others


def hand_over(servers: Iterable[WSGIServer], others: Others, timeout: float) -> None:
    """Give away what can be given, of every listener at once.

    :param timeout: seconds that it takes at the most.
    """
    until = monotonic() + timeout
    sleep(MOMENT)
    joinall([spawn(server.hand_over, others.seats, until) for server in servers])
