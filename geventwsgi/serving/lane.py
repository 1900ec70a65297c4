"""Where the requests of one connection run, one after the other: what the objects in their environs act on.

An environ with such objects costs no more than one without, since a connection's next request has the same ones. That
is so only while nobody else has them. Where an application has kept one, all are given up when the request ends: the
lane is cut off from the connection for good, and the next request gets a lane and objects of its own. So what is kept
of an ended request, by code that may serve anybody, can neither act on another request nor tell of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.serving import marks
from geventwsgi.serving.client import Audience, audience_of

if TYPE_CHECKING:
    from geventwsgi.serving.connection import Connection
    from geventwsgi.serving.http1_exchange import Http1Exchange


class Lane:
    """One connection's, until :meth:`end`."""

    __slots__ = (
        "_audience",
        "_client",
        "_deadline",
        "_departed",
        "_hints",
        "_known",
        "_trailers",
        "connection",
        "exchange",
    )

    def begin(self, connection: Connection, exchange: Http1Exchange) -> None:
        """Begin with a connection and its request; the constructor, as a method (see :meth:`.Http1Exchange.begin`)."""
        #: None once the lane has ended.
        self.connection: Connection | None = connection
        #: The request that runs; None between two requests, and once the lane has ended.
        self.exchange: Http1Exchange | None = exchange
        #: What an environ has that is copied for each request; set by :meth:`lend`.
        self._client: object = None
        self._deadline: object = None
        self._hints: object = None
        self._trailers: object = None
        #: How many references these have while no request has them; 0 before :meth:`lend`.
        self._known = 0
        #: How the last request's client fared; set by :meth:`end`.
        self._departed = False
        self._audience: Audience | None = None

    def lend(self, environ: dict[str, Any]) -> None:
        """Note what is in an environ that is copied for each request: to refer to it beyond that is to have kept it."""
        self._client = environ["geventwsgi.client"]
        self._deadline = environ["geventwsgi.deadline"]
        self._hints = environ["wsgi.early_hints"]
        self._trailers = environ.get("geventwsgi.send_trailers", self._client)
        self._known = self._references()

    def held(self) -> bool:
        """Return whether an application may have kept an object; after an environ that was not copied, it may."""
        return self._known == 0 or self._references() != self._known

    def _references(self) -> int:
        return (
            marks.references(self._client)
            + marks.references(self._deadline)
            + marks.references(self._hints)
            + marks.references(self._trailers)
        )

    def end(self) -> None:
        """Cut the objects off from the connection for good."""
        if self.connection is not None:
            self._departed = self.connection.departed
        if self.exchange is not None:
            self._audience = self.exchange.audience
        self.connection = self.exchange = None
        if self._known:
            self._client = self._deadline = self._hints = self._trailers = None  # each has a reference to this

    @property
    def departed(self) -> bool:
        """Whether the request's client has left; once the request has ended, whether it had."""
        return self._departed if self.connection is None else self.connection.departed

    def audience(self) -> Audience:
        """Return who is told of the request's client; of an ended request nobody is told any more."""
        if self.connection is not None and self.exchange is not None:
            return audience_of(self.connection, self.exchange)
        if self._audience is None:
            self._audience = Audience(cancels=False)
        return self._audience
