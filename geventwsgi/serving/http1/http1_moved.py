"""What is parked after an HTTP/1.x request in one worker goes on in another: how it is made there.

Both use the same clock (``clock.monotonic`` is the system's).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.http.head import RequestHead
from geventwsgi.serving.http1.http1_held import Http1Held
from geventwsgi.serving.http1.http1_upgraded import Http1Upgraded
from geventwsgi.serving.request import live_exchange
from geventwsgi.wsgi.named import unpacked

if TYPE_CHECKING:
    from geventwsgi.serving.http1.http1_connection import Http1Connection
    from geventwsgi.wsgi.held import Held, Upgrade


class Former(live_exchange.LiveExchange):
    """The request in the other worker, as far as it matters."""

    __slots__ = ()

    def begin(self, connection: Http1Connection, facts: dict[str, Any]) -> None:
        """Take what :meth:`.Http1Parked.pack` has returned; the constructor, as a method."""
        method, target, minor = facts["line"]
        fields = RequestHead.of_line(method, target, minor)
        self.head = fields
        self.remote_addr, self.remote_port = facts["client"]
        self.scheme, self.trusted = facts["scheme"], connection.trusted
        self.status, self.sent, self.until = facts["status"], facts["sent"], facts["until"]
        self.taken = "upgrade" in facts
        self.request = self.audience = self.offered = self.repeated = None
        self.head_sent, self.has_body, self.over, self.ended = True, False, True, True


def resume(connection: Http1Connection, facts: dict[str, Any], environ: dict[str, Any]) -> None:
    """Have a connection go on with what another worker has packed; in a greenlet, it may wait.

    :param environ: has the server.
    :raises Exception: it cannot be made of this; the connection is as before.
    """
    former = Former.__new__(Former)
    former.begin(connection, facts)
    if former.taken:
        _resume_upgraded(connection, former, facts, unpacked(facts["upgrade"], environ))
    else:
        _resume_held(connection, former, facts, unpacked(facts["held"], environ))


def _resume_held(connection: Http1Connection, former: Former, facts: dict[str, Any], source: Held) -> None:
    call = connection.policy.gateway.unpack(facts["call"], former, source)
    held = Http1Held.__new__(Http1Held)
    held.begin(connection, former, call, source, chunked=facts["chunked"], keep_alive=facts["keep_alive"])
    held.succeed(former)
    source.attach(held)
    connection.resume(held)
    held.go_on_until(facts["silent_until"])


def _resume_upgraded(connection: Http1Connection, former: Former, facts: dict[str, Any], upgrade: Upgrade) -> None:
    call = connection.policy.gateway.unpack(facts["call"], former, None)
    upgraded = Http1Upgraded.__new__(Http1Upgraded)
    upgraded.begin(connection, former, call, upgrade)
    upgraded.succeed(former)
    connection.resume(upgraded)
    upgraded.go_on()
