"""The parts of a request that are notified when its client leaves.

A request has an audience only once the application asks for it. :mod:`departure` notifies it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.observe.log import Logger


class Audience:
    """An event, callbacks, and whether the request is cancelled.

    :param cancels: whether the request itself ends then (``on_disconnect``).
    """

    __slots__ = ("callbacks", "cancels", "event", "thrown")

    def __init__(self, *, cancels: bool) -> None:
        #: Set once the client has left; None until the application asks for it.
        self.event: Event | None = None
        self.callbacks: list[Callable[[], object]] = []
        self.cancels = cancels
        #: The exception that :func:`.departure.throw` raised in the request's greenlet.
        self.thrown: BaseException | None = None

    def make_event(self, *, departed: bool) -> Event:
        """Return the event, which is set at once if the client has left."""
        if self.event is None:
            self.event = Event()
            if departed:
                self.event.set()
        return self.event

    def tell(self, log: Logger) -> None:
        """Notify all that the client has left; called in the hub.

        :param log: for callbacks that fail.
        """
        if self.event is not None:
            self.event.set()
        if self.callbacks:
            greenlet = gevent.spawn(call, self.callbacks, log)
            greenlet.spawn_tree_locals = {}  # otherwise it would share the hub's


def call(callbacks: list[Callable[[], object]], log: Logger) -> None:
    """Call each; what one raises is logged."""
    for callback in callbacks:
        try:
            callback()
        except Exception:  # one callback's failure is not another's
            log.exception("Error in an on_gone callback")
