"""The end of a connection whose client may still be sending, or has not taken yet what was sent.

If a socket is closed while received bytes are unread, the system sends a reset, which discards what the client has not
received (RFC 9112 section 9.6). So incoming bytes are discarded for a while, until the client ends its side too. That
takes no greenlet and little memory. It is bounded by time, not by bytes: an upload that was answered early may be of
any size.

This module decides how long. The stream discards the bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenlet import getcurrent

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.accept import capacity
from geventwsgi.serving.loop import runners

if TYPE_CHECKING:
    from geventwsgi.serving.accept.service import Service
    from geventwsgi.serving.wire.stream import Stream

#: Seconds without a byte in either direction, after which the connection is closed.
SILENCE = 5.0

#: The same while the server drains, if the client has taken all that was sent.
LAST_SILENCE = 0.5

#: Seconds in all for a connection that an application had taken over.
AFTER_TAKEOVER = 5.0


class Leaver(capacity.Guest):
    """A connection, as seen by the functions of this module."""

    __slots__ = ("service", "stream", "taken")

    service: Service
    stream: Stream
    #: Whether an application has taken the connection over; set by the exchange.
    taken: bool

    def forget(self) -> None:
        """Release what is kept for the next request."""
        raise NotImplementedError

    def end(self) -> None:
        """Close the connection so that everything that was sent arrives, whatever the client sends meanwhile."""
        raise NotImplementedError


def begin(connection: Leaver) -> None:
    """Linger for ``linger_timeout`` seconds at the most, then close. No greenlet may wait for the connection now."""
    service = connection.service
    if not service.timeouts.linger_timeout:
        connection.close()
        return
    service.capacity.let_linger(connection)
    connection.forget()
    Linger(connection).wake(timed_out=False)


def hurry(connection: Leaver) -> None:
    """Shorten the wait for a silent client during a drain."""
    connection.stream.hurry(LAST_SILENCE)


class Linger(runners.Sleeper):
    """Discards what a client sends, until it ends or the time is over."""

    __slots__ = ("_connection", "_owed", "_patience_ends", "_until")

    def __init__(self, connection: Leaver) -> None:
        self.greenlet = None
        self._connection = connection
        limit = connection.service.timeouts.linger_timeout
        #: When the connection is closed in any case (``clock.monotonic``).
        self._until = clock.monotonic() + (min(limit, AFTER_TAKEOVER) if connection.taken else limit)
        #: When it is closed if no byte moves until then.
        self._patience_ends = 0.0
        #: How many bytes the client had not acknowledged at the last look.
        self._owed = connection.stream.owed()

    def wake(self, timed_out: bool) -> None:
        """See :class:`~geventwsgi.serving.loop.runners.Sleeper`."""
        connection = self._connection
        now = clock.monotonic()
        if now >= self._until or not (self._takes(now) if timed_out else self._sends()):
            connection.close()
            return
        if not timed_out:
            self._patience_ends = now + SILENCE
        connection.stream.park(self, min(self._patience_ends, self._until) - now)
        if connection.service.draining:
            hurry(connection)

    def _sends(self) -> bool:
        """Discard what has come; return whether the client may send more."""
        try:
            return self._connection.stream.throw_away()
        except ClientDisconnected:
            return False

    def _takes(self, now: float) -> bool:
        """Return whether the client has not taken everything yet, and still may."""
        stream = self._connection.stream
        before, self._owed = self._owed, stream.owed()
        if self._owed < before:
            self._patience_ends = now + SILENCE
        return self._owed > 0 and stream.watched and now < self._patience_ends


class Farewell(runners.Sleeper):
    """Ends a connection in a greenlet, since its last bytes may have to wait for room."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Leaver) -> None:
        self.greenlet = None
        self._connection = connection

    def run(self) -> None:
        """See :class:`~geventwsgi.serving.loop.runners.Sleeper`."""
        connection = self._connection
        if connection.stream.closed:
            return
        connection.greenlet = getcurrent()
        try:
            if connection.stream.kept:
                connection.stream.send_kept()
            connection.stream.finish()
        except ClientDisconnected:
            connection.stream.abort()
        finally:
            connection.greenlet = None
            connection.end()
