"""The body of one HTTP/1.x request: received, held to a minimum rate, and decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi.errors import RequestError
from geventwsgi.observe.occurrences import occurred
from geventwsgi.serving.wire.stream import DeadlineExpired

if TYPE_CHECKING:
    from geventwsgi.http.body import Body
    from geventwsgi.observe.tally import Tally
    from geventwsgi.serving.accept.service import Service
    from geventwsgi.serving.wire.stream import Stream

#: Bytes of a body that are received at once, at most.
BODY_RECV = 65536
#: Bytes of chunk framing that cost as much work as one receive, as a power of two.
FRAMING_TURN = 5
#: Pieces of a body, taken one by one by the application, that cost as much work as one receive, as a power of two.
PIECES_TURN = 5


class ArrivingBody:
    """The part of a request after its head. Only a request that announces a body has one.

    :param decoder: for the body's framing. Its ``done`` tells whether all of the body has been read.
    :param tally: counts the body's bytes; None if nothing is counted.
    """

    __slots__ = ("_credit", "_service", "_stream", "_tally", "decoder", "received")

    def __init__(self, stream: Stream, service: Service, decoder: Body, tally: Tally | None) -> None:
        self._stream, self._service, self.decoder, self._tally = stream, service, decoder, tally
        #: Bytes of the body, without their framing.
        self.received = 0
        #: Seconds for which the client is still waited for: a second of waiting takes one, each byte gives some back.
        self._credit = service.timeouts.body_grace

    def receive(self, size: int, timeout: float) -> bytes | None:
        """Return the next piece; ``b""`` at the body's end, None if the client has ended its side before.

        :param size: bytes, at most.
        :param timeout: seconds without a byte, at most.
        :raises RequestError: 408, the client is too slow; 400 or 413, what came is wrong or too large.
        :raises ClientDisconnected: the connection is lost.
        """
        stream, decoder = self._stream, self.decoder
        try:
            while not decoder.done:
                data = self._receive_paced(decoder.want(min(size, BODY_RECV)), timeout)
                if not data:
                    return None
                piece, rest = decoder.decode(data)
                if len(data) > 2 * len(piece):  # mostly framing: far more work than copying
                    stream.spend(len(data) >> FRAMING_TURN)
                if rest:
                    stream.unread(rest)
                if piece:
                    self.received += len(piece)
                    if self._tally is not None:
                        self._tally.received(len(piece))
                    return piece
        except DeadlineExpired:
            occurred("timeouts", "body_min_rate")
            raise RequestError(408, "the body comes too slowly") from None
        return b""

    def _receive_paced(self, size: int, longest: float) -> bytes:
        """Receive bytes of the body from a client that keeps the minimum rate.

        :raises DeadlineExpired: it does not, or nothing came for ``longest`` seconds.
        """
        service, stream = self._service, self._stream
        if service.hurries():
            longest = min(longest, service.timeouts.drain_body)
        rate = service.timeouts.body_min_rate
        if not rate:
            return stream.recv(size, longest)
        credit = min(self._credit, longest)
        if credit <= 0:
            raise DeadlineExpired
        before = stream.waited
        data = stream.recv(size, credit)
        self._credit = credit - (stream.waited - before) + len(data) / rate
        return data
