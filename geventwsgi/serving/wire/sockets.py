"""The system calls on a client's socket. None of them waits, and each error is raised as :class:`ClientDisconnected`.

This module knows descriptors, but not the loop. :class:`Socket` exists twice: the one here uses the standard library's
socket; the one in ``_native.pyx`` uses the descriptor itself, which saves an object and exceptions.
"""

from __future__ import annotations

import os
import socket as constants
import sys
from _socket import socket as RawSocket
from array import array
from contextlib import contextmanager, suppress
from fcntl import ioctl
from typing import TYPE_CHECKING, Any, TypeVar

from geventwsgi.errors import ClientDisconnected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

__all__ = ["Socket", "accept", "borrowed", "deferred", "end_deferral", "prepare"]

#: Size in bytes of all parts together, above which they are sent by ``sendmsg``. To join smaller parts is cheaper.
JOIN_LIMIT = 16384

#: The probes that find out whether a silent client's machine still exists: seconds of silence before the first probe,
#: seconds between two probes, and the number of probes without an answer after which the connection is closed.
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
#: Bytes, twice the amount of unsent bytes below which the kernel reports that there is room. By default it reports this
#: when a third of its buffer is free, which happens more often.
UNSENT = 4 << 20
#: The congestion control for connections within this machine, where there is no congestion. BBR, if an operator has
#: chosen it for the network, would use a timer for each packet here too. Linux permits every user to choose this one.
UNPACED = b"reno"
#: Seconds for which the kernel does not report a new connection while its client has sent nothing (Linux only).
DEFERRED = 1

#: Number of bytes that the kernel transmits at once on a new connection (RFC 6928: ten segments).
ON_ITS_WAY = 14600
#: The ioctl that asks Linux how many sent bytes have not left yet: SIOCOUTQNSD, which the standard library does not
#: name.
NOT_SENT = 0x894B
#: Where Linux's TCP_INFO has the bytes of a segment, the segments that may be on their way, and the client's window.
_SEGMENT, _SEGMENTS, _WINDOW = slice(16, 20), slice(80, 84), slice(228, 232)

_TCP_INFO = constants.TCP_INFO if sys.platform == "linux" else None
_RESET_ON_CLOSE = array("i", (1, 0)).tobytes()
#: A state in the kernel's tables: the client has connected, but the listener has not been told.
_SYN_RECV = b"03"
_MSG_MORE = getattr(constants, "MSG_MORE", 0)
_UNIX = getattr(constants, "AF_UNIX", None)
#: A buffer for bytes that are discarded; from TCP, Linux does not even copy them (tcp(7), MSG_TRUNC).
_thrown_away = bytearray(65536)
_MSG_TRUNC = constants.MSG_TRUNC if sys.platform == "linux" else 0


Otherwise = TypeVar("Otherwise")
Result = TypeVar("Result")


class Socket:
    """A connected, non-blocking stream socket.

    :param fd: its descriptor, non-blocking, and this object's own from now on.
    :param family: its address family.
    :raises ClientDisconnected: a system call fails.
    """

    __slots__ = ("_sock",)

    def __init__(self, fd: int, family: int) -> None:
        self._sock = RawSocket(family, constants.SOCK_STREAM, 0, fileno=fd)
        self._sock.settimeout(0.0)

    def recv(self, size: int) -> bytes | None:
        """Return 1 to ``size`` bytes, ``b""`` at the end of the stream, None if nothing has come.

        :raises ValueError: the size is negative.
        """
        try:
            return self._sock.recv(size)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ClientDisconnected(str(error)) from error

    def recv_after(self, before: bytes, size: int) -> bytes:
        """Return ``before``, which is not empty, and behind it what has come, up to ``size`` bytes in all.

        If nothing has come, or the connection has ended or is broken, it returns ``before``; the next call finds out.
        """
        if size <= len(before):
            return before
        try:
            return before + self._sock.recv(size - len(before))
        except OSError:
            return before

    def peek(self) -> bytes | None:
        """As :meth:`recv` of one byte, without taking it."""
        return _attempt(None, self._sock.recv, 1, constants.MSG_PEEK)

    def discard(self) -> int | None:
        """Discard what has come, up to some size; return how many bytes, 0 at the end, None if nothing has come."""
        return _attempt(None, self._sock.recv_into, _thrown_away, 0, _MSG_TRUNC if self._sock.family != _UNIX else 0)

    def settled(self, last: bool) -> bool:
        """Return whether the socket can be closed without loss of bytes that were sent.

        If bytes have come that nobody has read, or if some come later, the system resets the connection and drops what
        it has yet to send (RFC 1122 section 4.2.2.13). Nothing comes from a client that has ended its side or is gone.

        :param last: whether the client has announced that it sends no more. Otherwise it must have acknowledged all
            that was sent, unless nothing can be lost on the way (a unix socket).
        """
        try:
            ahead = self.peek()
        except ClientDisconnected:
            return True
        if ahead is not None:
            return not ahead
        owed = self.unread()
        if not (last or self._sock.family == _UNIX):
            return not owed
        return not owed or (owed <= ON_ITS_WAY and (not self._ask(NOT_SENT) or self._has_room(owed)))

    def _has_room(self, size: int) -> bool:
        """Return whether the client's system takes ``size`` bytes at once, so that they leave with the close."""
        if self._sock.family == _UNIX or _TCP_INFO is None:
            return False
        info = self._sock.getsockopt(constants.IPPROTO_TCP, _TCP_INFO, _WINDOW.stop)
        if len(info) < _WINDOW.stop:
            return False
        segment, segments, window = (int.from_bytes(info[at], sys.byteorder) for at in (_SEGMENT, _SEGMENTS, _WINDOW))
        return size <= min(window, segment * segments)

    def send(self, data: Buffer, more: bool = False) -> int:
        """Send what the kernel takes of ``data``; return how much that is.

        :param more: have the kernel hold it back for the next send, where the system can (MSG_MORE).
        """
        try:
            return self._sock.send(data, _MSG_MORE if more else 0)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ClientDisconnected(str(error)) from error

    def send_parts(self, first: bytes, second: bytes, third: bytes, fourth: bytes, more: bool = False) -> int:
        """Send what the kernel takes of the parts, as if they were one; see :meth:`send`."""
        parts = (first, second, third, fourth)
        if not all(isinstance(part, bytes) for part in parts):
            raise TypeError("a part is not bytes")
        if sum(map(len, parts)) <= JOIN_LIMIT or not hasattr(self._sock, "sendmsg"):
            return self.send(b"".join(parts), more)
        return _attempt(0, self._sock.sendmsg, parts, (), _MSG_MORE if more else 0)

    def send_file(self, fileno: int, offset: int, count: int) -> int | None:
        """Send what the kernel takes of a file's bytes; return how many, 0 at the file's end, None for no room.

        :raises ValueError: a number is negative.
        """
        if offset < 0 or count < 0:
            raise ValueError(f"{count} bytes from {offset} of a file")
        return _attempt(None, os.sendfile, self._sock.fileno(), fileno, offset, count)

    def unread(self) -> int:
        """Return how many sent bytes the client's system has not acknowledged; 0 where that is not known."""
        from termios import TIOCOUTQ  # for clients that read slowly

        return self._ask(TIOCOUTQ)

    def _ask(self, what: int) -> int:
        """Return the number that an ioctl gives; 0 where the system does not know it."""
        count = array("i", [0])
        with suppress(OSError):
            ioctl(self._sock.fileno(), what, count)
        return count[0]

    def gather(self, on: bool) -> None:
        """Have the kernel send small pieces together while the client has yet to acknowledge (RFC 896), or each alone.

        What has been gathered leaves when this is switched off.
        """
        with suppress(OSError):  # nothing to switch on a UNIX socket
            self._sock.setsockopt(constants.IPPROTO_TCP, constants.TCP_NODELAY, not on)

    def end_sending(self) -> None:
        """Signal the end of this side: nothing more will be sent."""
        _attempt(None, self._sock.shutdown, constants.SHUT_WR)

    def reset_on_close(self) -> None:
        """Let the client see a reset, not an end, when this is closed."""
        with suppress(OSError):
            self._sock.setsockopt(constants.SOL_SOCKET, constants.SO_LINGER, _RESET_ON_CLOSE)

    def close(self) -> None:
        """Close it; a second call does nothing."""
        self._sock.close()

    def detach(self) -> int:
        """Return the descriptor and give it up."""
        return self._sock.detach()

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""
        return self._sock.fileno()


def _attempt(otherwise: Otherwise, call: Callable[..., Result], *arguments: object) -> Result | Otherwise:
    """Make a system call; return ``otherwise`` if it would have to wait.

    ``recv`` and ``send`` do the same themselves, since each request would pay for the additional call.

    :raises ClientDisconnected: the connection is broken.
    """
    try:
        return call(*arguments)
    except BlockingIOError:
        return otherwise
    except OSError as error:
        raise ClientDisconnected(str(error)) from error


def prepare(listener: Any, *, defer: bool) -> None:
    """Set a TCP listener's options; accepted sockets inherit the first ones on Linux.

    :param defer: accept a connection when its first bytes have come, or, if its client is silent, after ``DEFERRED``
        seconds. Until then it belongs to the listener, and ends with it.
    """
    # Without it a small response may wait 40 ms for an acknowledgement.
    listener.setsockopt(constants.IPPROTO_TCP, constants.TCP_NODELAY, 1)
    # Without it, a client that has vanished (an empty battery) is never noticed while nothing is sent.
    listener.setsockopt(constants.SOL_SOCKET, constants.SO_KEEPALIVE, 1)
    options = {**KEEPALIVE, "TCP_NOTSENT_LOWAT": UNSENT, "TCP_DEFER_ACCEPT": DEFERRED if defer else 0}
    for name, value in options.items():
        _set_tcp_option(listener, name, value)
    host = listener.getsockname()[0]
    if host == "::1" or host.startswith("127."):
        _set_tcp_option(listener, "TCP_CONGESTION", UNPACED)


def end_deferral(listener: Any) -> None:
    """Accept each connection at once from now on; see :func:`prepare`."""
    if listener.family != getattr(constants, "AF_UNIX", None):
        _set_tcp_option(listener, "TCP_DEFER_ACCEPT", 0)


def _set_tcp_option(listener: Any, name: str, value: int | bytes) -> None:
    if hasattr(constants, name):
        with suppress(OSError):  # not on this system
            listener.setsockopt(constants.IPPROTO_TCP, getattr(constants, name), value)


def deferred(listener: Any) -> bool:
    """Return whether a client has connected to a TCP listener whose connection the kernel does not report yet.

    Without ``/proc`` this is not known: False.
    """
    address = listener.getsockname()
    if not isinstance(address, tuple):
        return False
    port = b":%04X" % address[1]
    for table in ("tcp", "tcp6"):
        with suppress(OSError), open(f"/proc/net/{table}", "rb") as lines:
            for line in lines:
                _, local, _, state, _ = line.split(None, 4)
                if state == _SYN_RECV and local.endswith(port):
                    return True
    return False


def accept(listener: Any) -> tuple[Socket, Any] | None:
    """Return the next connection of a listening socket and its client's address.

    None if there is none: another process was faster, or the client gave up.

    :raises OSError: any other error of ``socket.accept``.
    """
    try:
        fd, address = listener._accept()  # noqa: SLF001 - the one call that makes no socket object
    except (BlockingIOError, ConnectionAbortedError):
        return None
    return Socket(fd, listener.family), address


@contextmanager
def borrowed(fd: int) -> Iterator[RawSocket]:
    """Lend a descriptor to a socket object while the block runs, to ask for addresses and options."""
    sock = RawSocket(fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.serving.wire._native import Socket, accept  # type: ignore[no-redef]  # the twins in C
