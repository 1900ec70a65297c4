"""Server-sent events, and channels that carry messages between greenlets, workers and machines.

An application imports it at any moment: nothing here is imported before its first use, and a channel opens no socket
before then.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geventwsgi.events.channel import Channel
    from geventwsgi.events.event import Event, last_event_id
    from geventwsgi.events.event_stream import EventStream
    from geventwsgi.events.history import Message
    from geventwsgi.events.outside import publish
    from geventwsgi.events.several import subscribe
    from geventwsgi.events.subscription import Subscription
    from geventwsgi.events.waiting import LongPoll, Polled, poll

__all__ = [
    "Channel",
    "Event",
    "EventStream",
    "LongPoll",
    "Message",
    "Polled",
    "Subscription",
    "last_event_id",
    "poll",
    "publish",
    "subscribe",
]

_HOMES = {
    "Channel": "channel",
    "Event": "event",
    "EventStream": "event_stream",
    "LongPoll": "waiting",
    "Message": "history",
    "Polled": "waiting",
    "Subscription": "subscription",
    "last_event_id": "event",
    "poll": "waiting",
    "publish": "outside",
    "subscribe": "several",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
