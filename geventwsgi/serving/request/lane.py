"""A lane: what the objects of an environ refer to, to reach the request that runs and its client.

An HTTP/1 connection has one lane at a time, in which its requests run one after the other. All of them have the same
objects, so their environs can be copied. That holds only while nobody else has these objects. If an application has
kept one, the lane ends with the request, and the next request gets a new lane and new objects. So an object that was
kept from an ended request neither acts on another request nor shows anything of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from geventwsgi.serving.loop import deadlines, marks
from geventwsgi.serving.request.audience import Audience

if TYPE_CHECKING:
    from geventwsgi.observe.log import Logger
    from geventwsgi.serving.request.live_exchange import LiveExchange
    from geventwsgi.serving.wire.stream import Stream


class Policy:
    """What holds for all requests of a server.

    :param buckets: where deadlines stand.
    :param cancels: whether a request is cancelled when its client leaves (``on_disconnect``).
    :param half_close_ends: whether a client that closes its sending side counts as one that has left (``half_close``).
    :param timed: whether each request is to know when it came.
    """

    __slots__ = ("cancels", "deadlines", "half_close_ends", "log", "timed")

    def __init__(
        self, buckets: deadlines.Deadlines, log: Logger, *, cancels: bool, half_close_ends: bool, timed: bool = False
    ) -> None:
        self.deadlines = buckets
        self.log = log
        self.cancels = cancels
        self.half_close_ends = half_close_ends
        self.timed = timed


class Clock(deadlines.Holder):
    """The deadline of a lane's requests; :class:`.RequestDeadline` implements it."""

    __slots__ = ()

    def follow(self, lane: Lane) -> None:
        """Watch another lane's request from now on."""
        raise NotImplementedError


class Inquiring(Protocol):
    """Asks a client whether it still reads; :class:`.Inquiry` implements it."""

    def follow(self, lane: Lane) -> None:
        """Ask about another lane's request from now on."""


class Lane:
    """See above. It is used until its last request has ended (:meth:`end`)."""

    __slots__ = (
        "_audience", "_client", "_deadline", "_hints", "_hold", "_known", "_trailers", "clock", "departed", "exchange",
        "greenlet", "inquiry", "policy", "queued", "remote", "transport",
    )  # fmt: skip

    def begin(self, transport: Stream, policy: Policy, remote: bool) -> None:
        """Begin with a client; the constructor, as a method (see :meth:`.Http1Exchange.begin`).

        :param remote: whether the client is connected by a network, not by a unix socket.
        """
        #: The client's socket; None once the lane has ended.
        self.transport: Stream | None = transport
        self.policy = policy
        self.remote = remote
        #: The request that runs, and its greenlet; None between two requests, and once the lane has ended.
        self.exchange: LiveExchange | None = None
        self.greenlet: Any = None
        #: Whether the client has left; set by :mod:`departure`. Once the lane has ended, whether it had.
        self.departed = transport.left
        #: Whether the request waits for its turn; set by the protocol.
        self.queued = False
        #: The deadline of its requests; set by :mod:`request_deadline` when one has a deadline.
        self.clock: Clock | None = None
        #: Asks the client whether it still reads; set and reset by :mod:`departure`.
        self.inquiry: Inquiring | None = None
        #: The objects in the environ that is copied for each request; set by :meth:`lend`.
        self._client: object = None
        self._deadline: object = None
        self._hints: object = None
        self._hold: object = None
        self._trailers: object = None
        #: How many references they have while no request runs; 0 before :meth:`lend`.
        self._known = 0
        self._audience: Audience | None = None

    def follow(self, former: Lane) -> None:
        """Take over the deadline and the inquiry of a lane that has ended."""
        if former.clock is not None:
            self.clock, former.clock = former.clock, None
            self.clock.follow(self)
        if former.inquiry is not None:
            self.inquiry, former.inquiry = former.inquiry, None
            self.inquiry.follow(self)

    def serve(self, exchange: LiveExchange, greenlet: Any) -> None:
        """Begin with a request that ``greenlet`` serves. :meth:`rest` or :meth:`end` follows.

        :param greenlet: None for a response that is held.
        """
        self.exchange = exchange
        self.greenlet = greenlet

    def rest(self) -> None:
        """End a request. The lane ends too if the application may have kept an object."""
        self.greenlet = None
        if self._known == 0 or self._references() != self._known:  # 0: the environ was not copied
            self.end()
        else:
            self.exchange = None

    def references(self) -> int:
        """Return how many references there are to the lane, without those of its deadline and inquiry."""
        return marks.references(self) - (self.clock is not None) - (self.inquiry is not None)

    def lend(self, environ: dict[str, Any]) -> None:
        """Note the objects of an environ that is copied for each request. Another reference means that one was kept."""
        self._client = environ["geventwsgi.client"]
        self._deadline = environ["geventwsgi.deadline"]
        self._hints = environ["wsgi.early_hints"]
        self._hold = environ["geventwsgi.hold"]
        self._trailers = environ.get("geventwsgi.send_trailers", self._client)
        self._known = self._references()

    def give(self) -> None:
        """Forget the objects: they belong to one request, and the lane ends with it."""
        self._known = 0
        self._client = self._deadline = self._hints = self._hold = self._trailers = None

    def _references(self) -> int:
        return (
            marks.references(self._client)
            + marks.references(self._deadline)
            + marks.references(self._hints)
            + marks.references(self._hold)
            + marks.references(self._trailers)
        )

    def end(self) -> None:
        """Drop the references to the request and the client for good; a second call does nothing."""
        if self.exchange is not None:
            self._audience = self.exchange.audience
        self.transport = self.exchange = self.greenlet = None
        if self._known:
            self.give()  # each object refers to the lane

    def close(self) -> None:
        """End, without a lane that follows."""
        self.end()
        clock, self.clock = self.clock, None
        if clock is not None:
            self.policy.deadlines.forget(clock)

    def audience(self) -> Audience:
        """Return the request's audience; that of an ended request is never notified."""
        exchange = self.exchange
        if exchange is None:
            if self._audience is None:
                self._audience = Audience(cancels=False)
            return self._audience
        if exchange.audience is None:
            exchange.audience = Audience(cancels=self.policy.cancels)
        return exchange.audience


def _alone() -> int:
    lane = Lane.__new__(Lane)
    lane.clock = lane.inquiry = None
    return lane.references()


#: What :meth:`Lane.references` returns if only a local variable refers to the lane.
ALONE = _alone()
