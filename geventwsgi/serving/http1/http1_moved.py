"""What was parked after an HTTP/1.x request in another worker, and goes on in this one.

Both have the same clock: ``clock.monotonic`` is the system's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.http.head import RequestHead
from geventwsgi.serving.http1.http1_held import Http1Held
from geventwsgi.serving.http1.http1_upgraded import Http1Upgraded
from geventwsgi.serving.request import live_exchange
from geventwsgi.wsgi.named import unpacked

if TYPE_CHECKING:
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.serving.http1.http1_parked import Http1Parked
    from geventwsgi.wsgi.gateway import Gateway


class Former(live_exchange.LiveExchange):
    """The request as the other worker has left it."""

    __slots__ = ()

    def begin(self, connection: Connection, facts: dict[str, Any]) -> None:
        """Take what :meth:`.Http1Parked.pack` has returned; the constructor, as a method."""
        method, target, minor = facts["line"]
        self.head = RequestHead.of_line(method, target, minor)
        self.remote_addr, self.remote_port = facts["client"]
        self.scheme, self.trusted = facts["scheme"], connection.trusted
        self.status, self.sent, self.until = facts["status"], facts["sent"], facts["until"]
        self.since, self.began = facts["since"], facts["began"]
        self.taken = "upgrade" in facts
        self.request = self.audience = self.offered = self.repeated = self.identity = None
        self.head_sent, self.has_body, self.over, self.ended = True, False, True, True


def made_of(facts: dict[str, Any], connection: Connection, gateway: Gateway) -> Http1Parked:
    """Return what another worker has packed, for this worker's connection to the same client; it may wait.

    :raises Exception: this worker cannot go on with it, for example since the application has another version.
    """
    former = Former.__new__(Former)
    former.begin(connection, facts)
    if former.taken:
        upgrade = unpacked(facts["upgrade"])
        upgraded = Http1Upgraded.__new__(Http1Upgraded)
        upgraded.begin(connection, former, gateway.unpack(facts["call"], former, None), upgrade)
        upgraded.succeed(former)
        return upgraded
    source = unpacked(facts["held"])
    held = Http1Held.__new__(Http1Held)
    held.begin(
        connection, former, gateway.unpack(facts["call"], former, source), source, chunked=facts["chunked"],
        keep_alive=facts["keep_alive"], silent_until=facts["silent_until"],
    )  # fmt: skip
    held.succeed(former)
    source.attach(held)
    return held
