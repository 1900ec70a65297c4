"""What all connections of one server share. The server fills it once, before the first connection."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gevent.event import Event

from geventwsgi.forks import hold
from geventwsgi.http.encode import LastHead
from geventwsgi.http.known import KnownBlocks
from geventwsgi.serving.loop.memory import Trimmer
from geventwsgi.serving.request.lane import Policy
from geventwsgi.serving.wire.outbox import outbox_of
from geventwsgi.serving.wire.sending import Common
from geventwsgi.wsgi.memo import Memo

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from geventwsgi.http.fields import Fields
    from geventwsgi.http.limits import Leniency, Limits
    from geventwsgi.observe.access import Record
    from geventwsgi.observe.log import Logger
    from geventwsgi.serving.accept.capacity import Capacity, Guest
    from geventwsgi.serving.accept.trust import ProxyProtocol
    from geventwsgi.serving.loop.deadlines import Deadlines
    from geventwsgi.serving.loop.runners import Runners
    from geventwsgi.serving.wire.poller import Poller
    from geventwsgi.wsgi.exchange import Exchange
    from geventwsgi.wsgi.gateway import Gateway

    #: Answers a request; returns False if it is the application's after all.
    Page = Callable[[Exchange], bool]


class Timeouts:
    """How long each phase of a connection may take, in seconds."""

    __slots__ = (
        "body",
        "body_grace",
        "body_min_rate",
        "drain_body",
        "first_byte",
        "head",
        "keepalive",
        "linger",
        "queue",
        "request",
        "tls_handshake",
        "warm",
        "write",
        "write_min_rate",
    )

    def __init__(
        self,
        *,
        tls_handshake: float = 10.0,
        first_byte: float = 30.0,
        head: float = 10.0,
        keepalive: float = 75.0,
        body_grace: float = 10.0,
        body_min_rate: float = 240.0,
        body: float = 60.0,
        drain_body: float = 1.0,
        write: float = 60.0,
        write_min_rate: float = 240.0,
        request: float = 0.0,
        queue: float = 0.0,
        warm: float = 1.0,
        linger: float = 30.0,
    ) -> None:
        #: From accept to the end of the TLS handshake; then the connection is dropped.
        self.tls_handshake = tls_handshake
        #: From then to the first byte of the first request; then a silent close.
        self.first_byte = first_byte
        #: From a head's first byte to its last; then 408.
        self.head = head
        #: From a response to the next request's first byte (``keepalive``); then a silent close. 0: no keep-alive.
        self.keepalive = keepalive
        #: What a client may fall behind with its request body before it gets 408 (``body_grace``), at the rate of...
        self.body_grace = body_grace
        #: ...so many bytes for each second that the server waits for it (``body_min_rate``); 0 for no such rate.
        self.body_min_rate = body_min_rate
        #: Between two pieces of a body, however fast it came before; then 408.
        self.body = body
        #: For what an application left unread of a body, before the connection is closed instead of reused; and for the
        #: next piece of a body when the server is to stop.
        self.drain_body = drain_body
        #: Without the client taking enough of a response (``write_timeout``); then it is dropped. That is...
        self.write = write
        #: ...so many bytes for each second of it (``write_min_rate``); 0 for any.
        self.write_min_rate = write_min_rate
        #: For an application to answer a request (``request_timeout``); then 504. 0 for any time.
        self.request = request
        #: For a request to wait for its turn (``queue_timeout``); then 503. 0 for any time.
        self.queue = queue
        #: From going idle to giving up all that would speed up the next request.
        self.warm = warm
        #: From the end of a connection's last response, for a client that is still sending (``linger_timeout``); then a
        #: close, which may be a reset. 0: at once.
        self.linger = linger


class ServerView:
    """What applications see of their server, as ``environ["geventwsgi.server"]``."""

    __slots__ = ("draining",)

    def __init__(self) -> None:
        #: Set when the server begins to stop: a stream that would go on for long is to come to its end.
        self.draining = Event()


class Service:
    """The parts of one server, put together."""

    __slots__ = (
        "capacity",
        "client_of",
        "common",
        "connections",
        "deadlines",
        "draining",
        "empty",
        "gateway",
        "greenlet_per_request",
        "has_prologue",
        "keeps_greenlets",
        "known",
        "last_head",
        "leniency",
        "limits",
        "log",
        "on_record",
        "pages",
        "peers",
        "policy",
        "poller",
        "proxies",
        "ragged_eof_ends",
        "refused",
        "runners",
        "scheme",
        "secure_scheme_headers",
        "served",
        "software",
        "timeouts",
        "tls",
        "trimmer",
        "trusts",
    )

    def __init__(
        self,
        *,
        gateway: Gateway,
        limits: Limits,
        leniency: Leniency,
        timeouts: Timeouts,
        poller: Poller,
        deadlines: Deadlines,
        capacity: Capacity,
        log: Logger,
        software: str,
        tls: ssl.SSLContext | None,
        ragged_eof_ends: bool,
        trusts: Callable[[str | None], bool],
        secure_scheme_headers: Mapping[str, str],
        client_of: Callable[[Fields], tuple[str, int] | None] | None = None,
        on_record: Callable[[Record], object] | None,
        runners: Runners,
        cancels: bool = False,
        half_close_ends: bool = False,
        keeps_greenlets: bool = False,
        greenlet_per_request: bool = False,
        proxies: ProxyProtocol | None = None,
        pages: dict[str, Page] | None = None,
    ) -> None:
        self.gateway = gateway
        self.limits = limits
        self.leniency = leniency
        self.timeouts = timeouts
        self.poller = poller
        self.deadlines = deadlines
        self.capacity = capacity
        #: What its streams have.
        self.common = Common(
            poller, deadlines, outbox_of(deadlines.hub), capacity.places, timeouts.write, timeouts.write_min_rate
        )
        self.log = log
        #: The Server field.
        self.software = software
        self.tls = tls
        #: Which PROXY header connections begin with; None for none.
        self.proxies = proxies
        #: Whether anything comes before a connection's first request.
        self.has_prologue = tls is not None or proxies is not None
        #: How clients speak to the server, where no forwarder says otherwise.
        self.scheme = "http" if tls is None else "https"
        #: Whether an end without TLS's close_notify is an ordinary end (``suppress_ragged_eofs``).
        self.ragged_eof_ends = ragged_eof_ends
        #: Whether an address (None for a unix socket) may tell the scheme and other forwarder's fields.
        self.trusts = trusts
        #: Addresses seen lately, each once, and whether they are trusted.
        self.peers = Memo(lambda address: (address, trusts(address)))
        self.secure_scheme_headers = secure_scheme_headers
        #: Reads whom a trusted peer names as its client; None where it is not asked (``remote_addr_from_forwarded``).
        self.client_of = client_of
        #: Takes the access record of a request that never reached the gateway; None when nobody wants records.
        self.on_record = on_record
        #: Have a connection's :meth:`~.connection.Connection.run` called by a greenlet.
        self.runners = runners
        self.policy = Policy(deadlines, log, cancels=cancels, half_close_ends=half_close_ends)
        #: Whether a connection has a greenlet while it is idle (a pool's, say).
        self.keeps_greenlets = keeps_greenlets
        #: Whether it is to go on in another after each request.
        self.greenlet_per_request = greenlet_per_request
        #: What the server answers itself, by path; None if there is nothing.
        self.pages = pages
        #: Encodes heads of responses.
        self.last_head = LastHead()
        #: What header blocks were seen lately.
        self.known = KnownBlocks()
        self.trimmer = Trimmer(deadlines.loop)
        self.connections: set[Guest] = set()
        #: Set when the last of them closes; whoever waits for that clears it first.
        self.empty = Event()
        #: Requests refused, by status: clients' faults are counted here and logged at debug, being no errors of ours.
        self.refused: Counter[int] = Counter()
        #: Requests begun so far.
        self.served = 0
        #: Set when the server stops: answer what is there, keep nothing alive.
        self.draining = False

    def let_go(self) -> None:
        """Serve nobody in a process that was forked (:mod:`geventwsgi.forks`): all connections are its parent's."""
        hold(self, *self.connections)
        for connection in self.connections:
            connection.let_go()
        self.connections = set()
        self.runners.let_go()
        self.capacity.balance = None
        self.gateway.forsaken = True
