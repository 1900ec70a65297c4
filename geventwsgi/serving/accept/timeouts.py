"""How long each phase of a connection may take, in seconds. The fields that are settings have the settings' names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geventwsgi.config.sources import Config


#: The part of ``drain_rate`` at which held connections end: their clients come back a little sooner or later.
PACE = 0.9


class Timeouts:
    """The limits of one server's connections.

    :param config: where the settings are.
    :param others: fields with other values.
    """

    __slots__ = (
        "body", "body_grace", "body_min_rate", "drain_body", "drain_gap", "first_byte_timeout", "handshake_timeout",
        "header_timeout", "keepalive", "linger_timeout", "queue_timeout", "request_timeout", "warm",
    )  # fmt: skip

    def __init__(self, config: Config, **others: float) -> None:
        #: From accept to the end of the TLS handshake; then the connection is dropped.
        self.handshake_timeout = config.handshake_timeout
        #: From then to the first byte of the first request; then a silent close.
        self.first_byte_timeout = config.first_byte_timeout
        #: From a head's first byte to its last; then 408.
        self.header_timeout = config.header_timeout
        #: From a response to the next request's first byte; then a silent close. 0: no keep-alive.
        self.keepalive = config.keepalive
        #: For a request's body, beyond the seconds that its bytes may take at ``body_min_rate``; then 408.
        self.body_grace = config.body_grace
        #: Bytes of a body per second of waiting for it; 0 for no such rate.
        self.body_min_rate = config.body_min_rate
        #: For an application to answer a request; then 504. 0 for any time.
        self.request_timeout = config.request_timeout
        #: For a request to wait for its turn; then 503. 0 for any time.
        self.queue_timeout = config.queue_timeout
        #: From the end of a connection's last response, for a client that is still sending; then a close, which may be
        #: a reset. 0: at once.
        self.linger_timeout = config.linger_timeout
        #: Between the ends of two held connections when the server stops. 0: all at once.
        self.drain_gap = config.workers / (PACE * config.drain_rate) if config.drain_rate else 0.0
        #: Between two pieces of a body, however fast it came before; then 408. No setting, like those below.
        self.body = 60.0
        #: For the rest of a body that the application has not read; then the connection is closed instead of reused.
        #: Also for the next piece of a body, and the rest of a head, while the server stops.
        self.drain_body = 1.0
        #: From the last response until the connection releases all that would speed up the next request.
        self.warm = 1.0
        for name, value in others.items():
            setattr(self, name, value)
