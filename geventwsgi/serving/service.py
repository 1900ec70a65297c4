"""What all connections of one server share. The server fills it once, before the first connection."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gevent.event import Event

from geventwsgi.http.encode import LastHead

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from geventwsgi.http.limits import Leniency, Limits
    from geventwsgi.observe.access import Record
    from geventwsgi.observe.log import Logger
    from geventwsgi.serving.capacity import Capacity
    from geventwsgi.serving.connection import Connection
    from geventwsgi.serving.deadlines import Deadlines
    from geventwsgi.serving.poller import Poller
    from geventwsgi.wsgi.gateway import Gateway


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each phase of a connection may take, in seconds."""

    #: From accept to the end of the TLS handshake; then the connection is dropped.
    tls_handshake: float = 10.0
    #: From then to the first byte of the first request; then a silent close.
    first_byte: float = 30.0
    #: From a head's first byte to its last; then 408.
    head: float = 10.0
    #: From a response to the next request's first byte (``keepalive``); then a silent close. 0: no keep-alive.
    keepalive: float = 75.0
    #: What a client may fall behind with its request body before it gets 408 (``body_grace``), at the rate of...
    body_grace: float = 10.0
    #: ...so many bytes for each second that the server waits for it (``body_min_rate``); 0 for no such rate.
    body_min_rate: float = 240.0
    #: Between two pieces of a body, however fast it came before; then 408.
    body: float = 60.0
    #: For what an application left unread of a body, before the connection is closed instead of reused; and for the
    #: next piece of a body when the server is to stop.
    drain_body: float = 1.0
    #: Without the client taking anything of a response; then the connection is dropped.
    write: float = 60.0
    #: From going idle to giving up all that would speed up the next request.
    warm: float = 1.0


@dataclass(slots=True, kw_only=True)
class Service:
    """The parts of one server, put together."""

    gateway: Gateway
    limits: Limits
    leniency: Leniency
    timeouts: Timeouts
    poller: Poller
    deadlines: Deadlines
    capacity: Capacity
    log: Logger
    #: The Server field.
    software: str
    tls: ssl.SSLContext | None
    #: Whether an end without TLS's close_notify is an ordinary end (``suppress_ragged_eofs``).
    ragged_eof_ends: bool
    #: Whether an address (None for a unix socket) may tell the scheme and other forwarder's fields.
    trusts: Callable[[str | None], bool]
    secure_scheme_headers: Mapping[str, str]
    #: Takes the access record of a request that never reached the gateway; None when nobody wants records.
    on_record: Callable[[Record], object] | None
    #: Has a connection's :meth:`~.connection.Connection.run` called by a greenlet.
    start: Callable[[Connection], object]
    #: Whether a connection has the same greenlet from its beginning to its end (a pool's, say).
    keeps_greenlets: bool = False
    #: Encodes heads of responses.
    last_head: LastHead = field(default_factory=LastHead)
    connections: set[Connection] = field(default_factory=set)
    #: Set when the last of them closes; whoever waits for that clears it first.
    empty: Event = field(default_factory=Event)
    #: Requests refused, by status. Clients' faults are counted here and logged at debug; they are no errors of ours.
    refused: Counter[int] = field(default_factory=Counter)
    #: Set when the server stops: answer what is there, keep nothing alive.
    draining: bool = False
