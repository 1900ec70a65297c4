"""The client of a request, for the application: ``environ["geventwsgi.client"]``.

A :class:`Client` refers to its lane. What a request has asked for is in its :class:`.Audience`, and ends with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent

from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.request import audience

if TYPE_CHECKING:
    from collections.abc import Callable

    from gevent.event import Event

    from geventwsgi.serving.request.lane import Lane


class Client:
    """The client of the request that is being served."""

    __slots__ = ("_lane",)

    def begin(self, lane: Lane) -> None:
        """Act on the requests of a lane; the constructor, as a method (see :meth:`.Http1Exchange.begin`)."""
        self._lane = lane

    @property
    def gone(self) -> Event:
        """A ``gevent.event.Event`` that is set when the client has left.

        After the request's end it stays as it was then.
        """
        return self._lane.audience().make_event(departed=self._lane.departed)

    def on_gone(self, callback: Callable[[], object]) -> None:
        """Have ``callback()`` called by a greenlet of its own when the client leaves; at once if it has left.

        What it raises is logged. Nothing is called once the request has ended.
        """
        lane = self._lane
        if lane.exchange is None:
            return
        if lane.departed:
            gevent.spawn(audience.call, [callback], lane.policy.log)
        else:
            lane.audience().callbacks.append(callback)

    def cancel_on_gone(self, *, cancel: bool = True) -> None:
        """End this request when its client leaves: its greenlet gets ``ClientDisconnected`` where it waits.

        Without a call, the setting ``on_disconnect`` decides.

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
