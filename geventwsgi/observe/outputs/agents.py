"""Sending to a local agent (syslog, statsd) without ever waiting for it.

Knows sockets and knows nothing of what is sent. Imported only when a setting asks for it. Its sockets are those of
``_socket``, which gevent never replaces: a log call must not switch greenlets, be it made in the master, where there is
no hub, or in a callback of the loop, where switching is forbidden. They do not block, so the loop goes on.

Nothing here raises an ``Exception``; what cannot be sent is counted (:class:`~.sinks.Losses`).
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import os
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from geventwsgi.trusted import find_socket

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.observe.outputs.sinks import Losses
    from geventwsgi.trusted import User

#: Bytes of a message; a longer one is cut. rsyslog takes no more by default, and UDP packets are limited.
LONGEST_MESSAGE = 8192
#: Messages that may wait for a stream whose peer does not read.
MOST_WAITING = 1000
# Seconds for which sending a message waits for a connect. A longer connect goes on, and messages queue.
_CONNECT = 0.1
_FIRST_RETRY, _LAST_RETRY = 1.0, 30.0


@dataclass(frozen=True, slots=True)
class HostAddress:
    """A network address, by name."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PathAddress:
    """A unix socket's path."""

    path: str

    def __str__(self) -> str:
        return f"unix://{self.path}"


Address = HostAddress | PathAddress


class Sender(Protocol):
    """Takes messages and never waits."""

    def send(self, data: bytes) -> None:
        """Send one message, or count it as lost."""

    def close(self) -> None:
        """Close the socket."""


def parse_host(text: str, default_port: int) -> HostAddress:
    """Read ``HOST``, ``HOST:PORT``, ``[IPV6]:PORT`` or ``:PORT`` (localhost).

    :raises ValueError: the port is no port.
    """
    bracketed, bracket, rest = text.rpartition("]")
    if bracket:
        host, port = bracketed.removeprefix("["), rest.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 0x10000):
        raise ValueError(f"{port!r} is not a port number")
    return HostAddress(host.lower() or "localhost", int(port) if port else default_port)


class _Target:
    """A socket's family, and its address at each use.

    :param user: of the workers, who may be able to change what a path leads to.
    :raises OSError: the host is not known, or has no unix sockets.
    """

    def __init__(self, address: Address, kind: int, user: User) -> None:
        self._user = user
        #: The path of a unix socket; "" for a network address.
        self._path = ""
        #: The address, once it is known to stay the same; None before.
        self._fixed: Any = None
        if isinstance(address, PathAddress):
            if not hasattr(_socket, "AF_UNIX"):
                raise OSError("this system has no unix sockets")
            self.family, self._path = _socket.AF_UNIX, address.path
        else:
            self.family, _, _, _, self._fixed = _socket.getaddrinfo(address.host, address.port, 0, kind)[0]

    def call(self, function: Callable[[Any], object]) -> None:
        """Call a function with the address.

        :raises OSError: there is no socket at the path, or none that root may use; or what the function raises.
        """
        if self._fixed is None:
            with find_socket(self._path, self._user) as name:
                if name == self._path:
                    self._fixed = name
                function(name)
        else:
            function(self._fixed)


def is_stream(address: PathAddress, user: User = None) -> bool:
    """Whether a stream socket listens at the path; False when nothing does."""
    if not hasattr(_socket, "AF_UNIX"):
        return False
    with contextlib.closing(_socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)) as probe:
        try:
            _Target(address, _socket.SOCK_DGRAM, user).call(probe.connect)
        except OSError as error:
            return error.errno == errno.EPROTOTYPE
        return False


class Datagrams:
    """Sends each message as a datagram. It never connects, so a restarted agent gets the next message.

    The name is resolved here, once: a resolver may take seconds, and later calls come from requests.

    :param user: see :class:`_Target`.
    """

    def __init__(self, address: Address, losses: Losses, user: User = None) -> None:
        self.losses = losses
        self._socket: _socket.socket | None = None
        try:
            self._target = _Target(address, _socket.SOCK_DGRAM, user)
            self._socket = _socket.socket(self._target.family, _socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        except OSError as error:
            losses.failed(error)

    def send(self, data: bytes) -> None:
        """Send one datagram."""
        if self._socket is None:
            self.losses.count()
            return
        try:
            self._target.call(partial(self._socket.sendto, data[:LONGEST_MESSAGE]))
        except OSError as error:
            self.losses.failed(error)
        else:
            if self.losses.broken:
                self.losses.succeeded()

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Stream:
    """Sends messages over a connection, which is made, and made anew, when there is something to send.

    Messages that the peer does not take at once wait here, up to :data:`MOST_WAITING`.

    :param trailer: ends each message (RFC 6587 section 3.4.2).
    :param user: see :class:`_Target`.
    """

    def __init__(
        self,
        address: Address,
        trailer: bytes,
        losses: Losses,
        clock: Callable[[], float] = time.monotonic,
        user: User = None,
    ) -> None:
        self.losses = losses
        self._trailer = trailer
        self._clock = clock
        self._socket: _socket.socket | None = None
        self._waiting: deque[bytes] = deque()
        self._offset = 0
        self._retry_at = 0.0
        self._delay = _FIRST_RETRY
        self._pid = os.getpid()
        self._target: _Target | None = None
        try:
            self._target = _Target(address, _socket.SOCK_STREAM, user)
        except OSError as error:
            losses.failed(error)

    def send(self, data: bytes) -> None:
        """Send one message, after those that wait."""
        if self._pid != os.getpid():
            self._forget_parent()
        if len(self._waiting) >= MOST_WAITING or self._target is None:
            self.losses.failed(BufferError(f"{MOST_WAITING} messages wait for the peer, the next are lost"))
        else:
            self._waiting.append(data[:LONGEST_MESSAGE] + self._trailer)
        self._check_peer()
        sock = self._socket or self._connect()
        if sock is not None:
            self._send_waiting(sock)

    def close(self) -> None:
        """Try for a moment to send the messages that wait, then close."""
        if self._socket is not None and self._waiting and self._pid == os.getpid():
            with contextlib.suppress(OSError):
                self._socket.settimeout(_CONNECT)
                self._socket.sendall(b"".join(self._waiting)[self._offset :])
        self._drop()
        self._waiting.clear()

    def _forget_parent(self) -> None:
        """Begin anew after a fork: the connection and the messages that wait are the parent's."""
        self._pid = os.getpid()
        self._waiting.clear()
        self._drop()
        self._retry_at = 0.0

    def _connect(self) -> _socket.socket | None:
        if self._target is None or self._clock() < self._retry_at:
            return None
        try:
            self._socket = sock = _socket.socket(self._target.family, _socket.SOCK_STREAM)
            sock.settimeout(_CONNECT)
            # A longer connect goes on. The next send shows how it has ended.
            with contextlib.suppress(TimeoutError):
                self._target.call(sock.connect)
            sock.setblocking(False)
        except OSError as error:
            self._broken(error)
            return None
        return sock

    def _check_peer(self) -> None:
        """Find out whether the peer has closed: a first send after that would succeed and lose its message."""
        if self._socket is None:
            return
        try:
            if not self._socket.recv(4096):
                self._drop()
        except BlockingIOError:
            pass
        except OSError:  # a reset
            self._drop()

    def _send_waiting(self, sock: _socket.socket) -> None:
        try:
            while self._waiting:
                message = self._waiting[0]
                self._offset += sock.send(message[self._offset :])
                if self._offset >= len(message):
                    self._waiting.popleft()
                    self._offset = 0
        except BlockingIOError:
            return
        except OSError as error:
            self._broken(error)
            return
        self._delay = _FIRST_RETRY
        if self.losses.broken:
            self.losses.succeeded()

    def _broken(self, error: OSError) -> None:
        self._drop()
        self._retry_at = self._clock() + self._delay
        self._delay = min(2 * self._delay, _LAST_RETRY)
        self.losses.failed(error, lost=0)

    def _drop(self) -> None:
        # A message that was sent in part is sent again from its start: a doubled line is better than half a line.
        self._offset = 0
        if self._socket is not None:
            self._socket.close()
            self._socket = None
