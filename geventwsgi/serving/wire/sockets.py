"""The client's socket itself, below the stream: system calls that never wait, and their failures by our names.

Knows descriptors; knows neither the loop nor who waits. :class:`Socket` exists twice: here in Python over the standard
library's socket, and in ``_native.pyx`` over the descriptor alone, without an object or an exception that nobody needs.
"""

from __future__ import annotations

import os
import socket as constants
import sys
from _socket import socket as RawSocket
from array import array
from contextlib import contextmanager, suppress
from fcntl import ioctl
from typing import TYPE_CHECKING, Any

from geventwsgi.errors import ClientDisconnected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

__all__ = ["Socket", "accept", "borrowed", "deferred", "end_deferral", "prepare"]

#: Beyond this size buffers are cheaper to send together by ``sendmsg`` than to join.
JOIN_LIMIT = 16384

#: When the kernel asks a silent client's: after so many seconds, every so many seconds, so often.
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
#: Bytes that the kernel holds, for each connection, of what it has yet to send. It tells of room for more when half of
#: them are left, and not two thirds of what its buffer may grow to: less often.
UNSENT = 4 << 20
#: What controls congestion where there is none, between two processes of this machine: where BBR was chosen, for the
#: network, the kernel would pace those as well, by a timer for each packet. Linux lets everybody choose this one.
UNPACED = b"reno"
#: Seconds for which a connection without a byte is kept from the server, where the kernel can do that.
DEFERRED = 1

#: Bytes that are on their way as soon as they are sent (RFC 6928: ten segments): only a loss on the way could keep them
#: from the client.
ON_ITS_WAY = 14600
#: Asks Linux how many bytes of what was sent have not left yet: SIOCOUTQNSD, which the standard library does not name.
NOT_SENT = 0x894B
#: Where Linux's TCP_INFO has the bytes of a segment, the segments that may be on their way, and the client's window.
_SEGMENT, _SEGMENTS, _WINDOW = slice(16, 20), slice(80, 84), slice(228, 232)

_TCP_INFO = constants.TCP_INFO if sys.platform == "linux" else None
_RESET_ON_CLOSE = array("i", (1, 0)).tobytes()
#: A state of the kernel's connections: the client has connected, and the listener is not told.
_SYN_RECV = b"03"
_MSG_MORE = getattr(constants, "MSG_MORE", 0)
_UNIX = getattr(constants, "AF_UNIX", None)
#: What is thrown away is received into; Linux does not even copy it, from TCP (tcp(7), MSG_TRUNC).
_thrown_away = bytearray(65536)
_MSG_TRUNC = constants.MSG_TRUNC if sys.platform == "linux" else 0


class Socket:
    """A connected, non-blocking stream socket.

    :param fd: its descriptor, non-blocking, and this object's own from now on.
    :param family: its address family.
    :raises ClientDisconnected: whatever the system says against a call of a method.
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

        Whether nothing has come yet, nothing will any more, or the connection is broken is for the next call to find.
        """
        if size <= len(before):
            return before
        try:
            return before + self._sock.recv(size - len(before))
        except OSError:
            return before

    def peek(self) -> bytes | None:
        """Return the next byte without taking it, as :meth:`recv` does otherwise."""
        try:
            return self._sock.recv(1, constants.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ClientDisconnected(str(error)) from error

    def discard(self) -> int | None:
        """Throw away what has come, up to some size; return how many bytes, 0 at the end, None if nothing has come."""
        try:
            return self._sock.recv_into(_thrown_away, 0, _MSG_TRUNC if self._sock.family != _UNIX else 0)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ClientDisconnected(str(error)) from error

    def settled(self, last: bool) -> bool:
        """Return whether closing harms nothing that was sent.

        The system would reset the connection if bytes had come that nobody has read, or came later, and forget what it
        has yet to send (RFC 1122 section 4.2.2.13). Nothing comes from a client that has ended, or is gone.

        :param last: whether the client has said that it sends no more. Otherwise it must have taken all that was sent,
            unless nothing can be lost on the way (a unix socket).
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
        """Return whether the client's system takes ``size`` bytes at once: what is held back then leaves by a close."""
        if self._sock.family == _UNIX or _TCP_INFO is None:
            return False
        info = self._sock.getsockopt(constants.IPPROTO_TCP, _TCP_INFO, _WINDOW.stop)
        if len(info) < _WINDOW.stop:
            return False
        segment, segments, window = (int.from_bytes(info[at], sys.byteorder) for at in (_SEGMENT, _SEGMENTS, _WINDOW))
        return size <= min(window, segment * segments)

    def send(self, data: Buffer, more: bool = False) -> int:
        """Send what the kernel takes of ``data``; return how much that is.

        :param more: hold it back for what follows at once, where the system can.
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
        try:
            return self._sock.sendmsg(parts, (), _MSG_MORE if more else 0)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ClientDisconnected(str(error)) from error

    def send_file(self, fileno: int, offset: int, count: int) -> int | None:
        """Send what the kernel takes of a file's bytes; return how many, 0 at the file's end, None for no room.

        :raises ValueError: a number is negative.
        """
        if offset < 0 or count < 0:
            raise ValueError(f"{count} bytes from {offset} of a file")
        try:
            return os.sendfile(self._sock.fileno(), fileno, offset, count)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ClientDisconnected(str(error)) from error

    def unread(self) -> int:
        """Return how many bytes of what was sent the client's system has yet to take; 0 where nobody knows."""
        from termios import TIOCOUTQ  # for clients that read slowly

        return self._ask(TIOCOUTQ)

    def _ask(self, what: int) -> int:
        """Return what the system says to an ioctl that counts; 0 where it does not know it."""
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
        """Say that nothing more will be sent."""
        try:
            self._sock.shutdown(constants.SHUT_WR)
        except OSError as error:
            raise ClientDisconnected(str(error)) from error

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


def prepare(listener: Any, *, defer: bool) -> None:
    """Set a TCP listener's options; accepted sockets inherit the first ones on Linux.

    :param defer: be told of a connection when its first bytes have come, so that there is something to do for it at
        once; of one whose client is silent, after ``DEFERRED`` seconds. Until then it is the listener's, and ends with
        it.
    """
    # Without it a small answer can wait 40 ms for an acknowledgement.
    listener.setsockopt(constants.IPPROTO_TCP, constants.TCP_NODELAY, 1)
    # Without it a client that vanished (a dead battery) is never missed while nothing is sent.
    listener.setsockopt(constants.SOL_SOCKET, constants.SO_KEEPALIVE, 1)
    options = {**KEEPALIVE, "TCP_NOTSENT_LOWAT": UNSENT, "TCP_DEFER_ACCEPT": DEFERRED if defer else 0}
    for name, value in options.items():
        _set_tcp_option(listener, name, value)
    host = listener.getsockname()[0]
    if host == "::1" or host.startswith("127."):
        _set_tcp_option(listener, "TCP_CONGESTION", UNPACED)


def end_deferral(listener: Any) -> None:
    """Be told of each connection at once from now on; see :func:`prepare`."""
    if listener.family != getattr(constants, "AF_UNIX", None):
        _set_tcp_option(listener, "TCP_DEFER_ACCEPT", 0)


def _set_tcp_option(listener: Any, name: str, value: int | bytes) -> None:
    if hasattr(constants, name):
        with suppress(OSError):  # not on this system
            listener.setsockopt(constants.IPPROTO_TCP, getattr(constants, name), value)


def deferred(listener: Any) -> bool:
    """Return whether a client has connected to a TCP listener that is not told of it yet; False where nobody knows."""
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

    :raises OSError: what else ``socket.accept`` says.
    """
    try:
        fd, address = listener._accept()  # noqa: SLF001 - the one call that makes no socket object
    except (BlockingIOError, ConnectionAbortedError):
        return None
    return Socket(fd, listener.family), address


@contextmanager
def borrowed(fd: int) -> Iterator[RawSocket]:
    """Lend a descriptor to a socket object, for names and options, while the block runs."""
    sock = RawSocket(fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.serving.wire._native import Socket, accept  # type: ignore[no-redef]  # the twins in C
