"""What an application has of its client while a request runs: ``environ["geventwsgi.client"]``.

It knows whom to tell of a departure, and how; when there is one to tell is :mod:`departure`'s business. A
:class:`Client` speaks of its lane's request; what a request asked for is in its :class:`Audience`, and ends with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from geventwsgi.errors import ClientDisconnected

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.serving.connection import Connection
    from geventwsgi.serving.http1_exchange import Http1Exchange
    from geventwsgi.serving.lane import Lane


class Audience:
    """Who of one request wants to hear that its client has left."""

    __slots__ = ("callbacks", "cancels", "event", "thrown")

    def __init__(self, *, cancels: bool) -> None:
        #: Set once the client has left; None while nobody has asked for it.
        self.event: Event | None = None
        self.callbacks: list[Callable[[], object]] = []
        #: Whether the request itself is to end (``on_disconnect``).
        self.cancels = cancels
        #: What :func:`.departure.throw` raised in the request's greenlet.
        self.thrown: BaseException | None = None


class Client:
    """The client of the request that is being served."""

    __slots__ = ("_lane",)

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    @property
    def gone(self) -> Event:
        """A ``gevent.event.Event`` that is set when the client has left.

        After the request's end it stays as it was then.
        """
        audience = self._lane.audience()
        if audience.event is None:
            audience.event = Event()
            if self._lane.departed:
                audience.event.set()
        return audience.event

    def on_gone(self, callback: Callable[[], object]) -> None:
        """Have ``callback()`` called by a greenlet of its own when the client leaves; at once if it has left.

        What it raises is logged. Nothing is called once the request has ended.
        """
        lane = self._lane
        if lane.connection is None:
            return
        if lane.departed:
            gevent.spawn(_call, lane.connection, [callback])
        else:
            lane.audience().callbacks.append(callback)

    def cancel_on_gone(self, *, cancel: bool = True) -> None:
        """End this request when its client leaves: its greenlet gets ``ClientDisconnected`` where it waits.

        The setting ``on_disconnect`` says what holds for a request that does not call this.

        :param cancel: False lets it go on in any case.
        :raises ClientDisconnected: the client has left already.
        """
        self._lane.audience().cancels = cancel
        if cancel and self._lane.departed:
            raise ClientDisconnected("the client has left")

    def disconnected(self) -> bool:
        """Return whether the client has left."""
        return self._lane.departed

    def __call__(self) -> bool:
        """As ``environ["waitress.client_disconnected"]``, which this object is too: see :meth:`disconnected`."""
        return self._lane.departed


def audience_of(connection: Connection, exchange: Http1Exchange) -> Audience:
    """Return the audience of a request, made where there is none yet."""
    if exchange.audience is None:
        exchange.audience = Audience(cancels=connection.service.cancels)
    return exchange.audience


def tell(connection: Connection, audience: Audience) -> None:
    """Tell a request's audience that its client has left; called in the hub."""
    if audience.event is not None:
        audience.event.set()
    if audience.callbacks:
        greenlet = gevent.spawn(_call, connection, audience.callbacks)
        greenlet.spawn_tree_locals = {}  # the hub's, otherwise, shared by all that it spawns


def _call(connection: Connection, callbacks: list[Callable[[], object]]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception:  # noqa: PERF203 - one callback's failure is not another's
            connection.service.log.exception("Error in an on_gone callback")
