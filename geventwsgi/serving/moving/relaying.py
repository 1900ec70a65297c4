"""A connection that cannot move, since this worker speaks its TLS: its bytes go to another worker and back.

The other worker has one end of a pair of sockets, as if it were the client's connection. Deadlines and requests are its
business. Here, two greenlets carry bytes between the other end and the client, of which each has one piece at a time.
"""

from __future__ import annotations

import socket as constants
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gevent import socket, spawn

from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.wire.stream import DeadlineExpired

if TYPE_CHECKING:
    from geventwsgi.serving.accept.connection import Connection

#: Bytes that are carried at once.
PIECE = 65536


def pair() -> tuple[Any, int]:
    """Return a socket, and the descriptor of the one at its other end.

    :raises OSError: the system has no descriptor left.
    """
    ours, theirs = socket.socketpair()
    return ours, theirs.detach()


def carry(connection: Connection, ours: Any, received: bytes) -> None:
    """Carry bytes until either side has ended.

    :param ours: this worker's end of the pair.
    :param received: what has been received of the client already.
    :raises ClientDisconnected: the connection was reset.
    """
    answers = spawn(_carry_back, connection, ours)
    try:
        _carry_on(connection, ours, received)
        with suppress(OSError):
            ours.shutdown(constants.SHUT_WR)
        answers.join()
    finally:
        answers.kill()
        with suppress(OSError):  # a process that the application has forked may have the socket as well
            ours.shutdown(constants.SHUT_RDWR)
        ours.close()


def _carry_on(connection: Connection, ours: Any, data: bytes) -> None:
    """Carry what the client sends to the other worker, until one of them has ended, or this worker is to end."""
    while data:
        try:
            ours.sendall(data)
        except OSError:
            return
        try:
            data = connection.stream.recv(PIECE)
        except DeadlineExpired:  # this worker drains, and nothing comes
            return


def _carry_back(connection: Connection, ours: Any) -> None:
    stream = connection.stream
    with suppress(OSError, ClientDisconnected):
        while data := ours.recv(PIECE):
            stream.send(data)
    stream.interrupt()
