"""A response that comes once: when there is a message, or when the time is over.

Its head and a line end are sent at once, so that it can be held: its body follows, and then the next request of the
connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.events.event import dumps
from geventwsgi.events.waiting import WaitingBody, reading_of
from geventwsgi.wsgi.held import Piece

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from geventwsgi.events.channel import Channel
    from geventwsgi.events.history import Message
    from geventwsgi.events.subscription import Reading

#: The type of what :func:`as_json` returns.
JSON = (("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("X-Accel-Buffering", "no"))


def as_json(messages: list[Message], after: str) -> bytes:
    """Return ``{"messages": [...], "after": "..."}``: the published values, and the place behind them."""
    values = ",".join([message.text for message in messages])
    return f'{{"messages":[{values}],"after":{dumps(after)}}}\n'.encode("utf-8", "surrogatepass")


class LongPoll(WaitingBody):
    """The body of a response with the messages that have come, as soon as there is one. It is a WSGI application too.

    Example::

        def application(environ, start_response):
            after = parse_qs(environ["QUERY_STRING"]).get("after", [None])[0]
            return LongPoll(environ, news, after=after)(environ, start_response)

    :param environ: the request's environ.
    :param source: a :class:`Channel`, a list or tuple of channels, or a subscription.
    :param after: where the client has come to: ``after`` of the answer before. Without one, the answer comes at once,
        and says where the channel stands.
    :param timeout: seconds after which the answer has no messages.
    :param body: makes the answer of the messages, a list, and the place behind them.
    :param headers: what the response needs beside its status.
    :param first: what is sent before the answer, and must not matter to the client; not empty.
    :param hold: see :class:`EventStream`.
    """

    __slots__ = ("_body", "headers")

    def __init__(
        self,
        environ: Mapping[str, Any],
        source: Channel | list[Channel] | tuple[Channel, ...] | Reading,
        *,
        after: str | None = None,
        timeout: float = 25.0,
        body: Callable[[list[Message], str], bytes] = as_json,
        headers: tuple[tuple[str, str], ...] = JSON,
        first: bytes = b"\n",
        hold: bool = True,
    ) -> None:
        self._body = body
        self.headers = headers
        inbox = reading_of(source, after)
        if inbox is None:
            raise TypeError(f"a long-poll waits at a channel, several ones, or a subscription, not at {source!r}")
        waits = bool(after) or inbox is source
        # An object that nobody else has: single bytes are shared.
        super().__init__(environ, inbox, bytes(bytearray(first * 2)), timeout if waits else 0.0, hold=hold and waits)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes before the answer, and then the answer, when there is one."""
        inbox: Any = self._inbox
        messages = inbox.batch(0)
        if not messages and self.heartbeat:
            yield self.first
            self._heed()
            messages = inbox.batch(self.heartbeat)
        yield self._body(messages, inbox.position)

    # Held

    def take(self) -> Piece | None:
        """See :meth:`.Held.take`."""
        inbox: Any = self._inbox
        if self.over:
            return None
        messages = inbox.batch(0)
        if not (messages or inbox.ended):
            inbox.call(self._outlet)
            return None
        self.over = True
        return Piece(self._body(messages, inbox.position))

    def silence(self) -> Piece:
        """See :meth:`.Held.silence`: the time is over."""
        inbox: Any = self._inbox
        self.over = True
        return Piece(self._body([], inbox.position))
