"""What a connection begins with before its first request: the PROXY header of a proxy in front, the TLS handshake.

It knows their order and their time. ``http.proxy`` parses the header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected, ProxyHeaderError
from geventwsgi.http.proxy import LONGEST_V2, parse_proxy_header
from geventwsgi.observe.occurrences import occurred
from geventwsgi.serving.wire.stream import DeadlineExpired, Stream

if TYPE_CHECKING:
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.serving.accept.trust import ProxyProtocol


def begin(connection: Connection) -> None:
    """Prepare a connection for its first request; later calls do nothing.

    :raises ClientDisconnected: it is to be closed: the header or the handshake is late, malformed or not allowed.
    """
    service = connection.service
    if service.entrance.proxies is not None and not connection.introduced:
        with connection.incomplete():
            _introduce(connection, service.entrance.proxies)
        connection.introduced = True
    stream: Any = connection.stream
    if stream.encrypted and not stream.established:
        with connection.incomplete():
            try:
                stream.handshake(service.timeouts.handshake_timeout)
            except DeadlineExpired:
                occurred("timeouts", "handshake_timeout")
                raise ClientDisconnected("TLS handshake too slow") from None
            except ClientDisconnected:
                connection.answered = True  # by an alert, which has to arrive
                raise


def _introduce(connection: Connection, proxies: ProxyProtocol) -> None:
    """Receive the PROXY header; from then on the connection has the client's address that it contains."""
    if not proxies.trusts(connection.remote_addr or None):
        raise ClientDisconnected("refused: not one of proxy_allow_ips, whose connections begin with a PROXY header")
    stream = connection.stream
    until = clock.monotonic() + connection.service.timeouts.handshake_timeout
    data = b""
    try:
        while (found := parse_proxy_header(data, proxies.version)) is None:
            piece = Stream.recv_raw(stream, LONGEST_V2, max(0.0, until - clock.monotonic()))
            if not piece:
                raise ClientDisconnected("ended before its PROXY header")
            data += piece
    except DeadlineExpired:
        occurred("timeouts", "handshake_timeout")
        raise ClientDisconnected("PROXY header too slow") from None
    except ProxyHeaderError as error:
        raise ClientDisconnected(f"refused: {error}") from None
    stream.unread_raw(data[found.length :])
    if found.source is not None and not connection.move_to(*found.source):
        raise ClientDisconnected(f"refused: {found.source[0]} has as many connections as it may")
