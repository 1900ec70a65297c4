"""The last moment of a connection: all was said, but the client may still be sending, or has yet to take what was sent.

A system answers what nobody reads by a reset, which throws away what the client has not received (RFC 9112 section
9.6). So what comes is thrown away for a while, until the client ends as well. That takes no greenlet and next to no
memory; it is bounded by time, not by bytes: an upload that was answered early may be of any size.

Knows when the moment is over; what is thrown away, and how, is the stream's business.
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

#: Seconds after which the moment is over if no byte has moved, in either direction.
SILENCE = 5.0

#: The same while the server drains, where the client has taken all that was sent.
LAST_SILENCE = 0.5

#: Seconds after which the moment is over where an application had taken the connection over, and so had its own time.
AFTER_TAKEOVER = 5.0


class Leaver(capacity.Guest):
    """A connection, as its end knows it."""

    __slots__ = ("service", "stream", "taken")

    service: Service
    stream: Stream
    #: Whether an application has taken the connection over; set by the exchange.
    taken: bool

    def forget(self) -> None:
        """Let go of what is kept for the next request."""
        raise NotImplementedError

    def end(self) -> None:
        """Close the connection so that all arrives that was sent, whatever the client sends meanwhile."""
        raise NotImplementedError


def begin(connection: Leaver) -> None:
    """Linger for ``linger_timeout`` seconds at the most, then close; nothing may wait for this connection any more."""
    service = connection.service
    if not service.timeouts.linger_timeout:
        connection.close()
        return
    service.capacity.let_linger(connection)
    connection.forget()
    Linger(connection).wake(timed_out=False)


def hurry(connection: Leaver) -> None:
    """Let a silent client that has taken all hold up a drain only shortly."""
    connection.stream.hurry(LAST_SILENCE)


class Linger(runners.Sleeper):
    """A connection's last moment."""

    __slots__ = ("_connection", "_owed", "_patience_ends", "_until")

    def __init__(self, connection: Leaver) -> None:
        self.greenlet = None
        self._connection = connection
        limit = connection.service.timeouts.linger_timeout
        #: When it is over in any case (``clock.monotonic``).
        self._until = clock.monotonic() + (min(limit, AFTER_TAKEOVER) if connection.taken else limit)
        #: When it is over if no byte moves meanwhile.
        self._patience_ends = 0.0
        #: How many bytes the client had yet to take when this was last asked.
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
        """Throw away what has come; return whether the client may send more."""
        try:
            return self._connection.stream.throw_away()
        except ClientDisconnected:
            return False

    def _takes(self, now: float) -> bool:
        """Return whether the client has yet to take something, and is still expected to."""
        stream = self._connection.stream
        before, self._owed = self._owed, stream.owed()
        if self._owed < before:
            self._patience_ends = now + SILENCE
        return self._owed > 0 and stream.watched and now < self._patience_ends


class Farewell(runners.Sleeper):
    """Ends a connection in a greenlet, since its last words may have to wait until the client has taken others."""

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
