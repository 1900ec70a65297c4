"""The moment in which an event of gevent's forgets a greenlet.

A greenlet waits for the event alone. The event is set, and before the loop wakes that greenlet, it is ended or its time
is over. Then gevent cancels the notification, and a greenlet that has begun to wait in between is never woken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent

if TYPE_CHECKING:
    from collections.abc import Callable

    from gevent.event import Event


def begin_in_that_moment(event: Event, function: Callable[..., object], *arguments: Any) -> gevent.Greenlet[..., Any]:
    """Return a greenlet that calls a function in that moment.

    :param event: is not set.
    """
    other = gevent.spawn(event.wait)
    gevent.sleep(0)
    gevent.get_hub().loop.run_callback(event.set)
    greenlet = gevent.spawn(function, *arguments)
    other.kill(block=False)
    return greenlet
