"""The connection in an application's own hands: ``environ["geventwsgi.socket"]``.

A socket as far as applications and WebSocket libraries use one, made of the stream: bytes that came together with the
request are not lost, a send is never partial, and TLS makes no difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.serving.sockets import borrowed
from geventwsgi.serving.stream import DeadlineExpired, Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer


class ClientSocket:
    """The client's connection.

    Its first use takes it over: the server then sends nothing of its own, and closes it when the application returns.
    """

    def __init__(self, stream: Stream, take_over: Callable[[], object]) -> None:
        self._stream = stream
        self._take_over = take_over
        self._timeout: float | None = None

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return 1 to ``size`` bytes, ``b""`` at the end of the stream.

        :raises TimeoutError: nothing came within :meth:`settimeout`.
        :raises ClientDisconnected: the connection was reset.
        """
        if flags:
            raise ValueError("flags are not supported on a client's socket")
        self._take_over()
        try:
            return self._stream.recv(size, self._timeout)
        except DeadlineExpired:
            raise TimeoutError("timed out") from None

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into ``buffer``; return the number of bytes, 0 at the end. Raises as :meth:`recv`."""
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        """Send all of ``data``.

        :raises ClientDisconnected: the client has gone.
        """
        del flags
        self._take_over()
        self._stream.send(bytes(data))

    def send(self, data: Buffer, flags: int = 0) -> int:
        """Send all of ``data`` and return its length: unlike a kernel's socket, never a part of it."""
        self.sendall(data, flags)
        return memoryview(data).nbytes

    def settimeout(self, timeout: float | None) -> None:
        """Set how long :meth:`recv` waits, in seconds; None for ever."""
        self._timeout = timeout

    def gettimeout(self) -> float | None:
        """Return what :meth:`settimeout` set."""
        return self._timeout

    def fileno(self) -> int:
        """Return the descriptor, to wait on; over TLS it does not tell what is already decrypted."""
        return self._stream.fileno()

    def getpeername(self) -> Any:
        """Return the client's address."""
        with borrowed(self._stream.fileno()) as sock:
            return sock.getpeername()

    def getsockname(self) -> Any:
        """Return the address that the client connected to."""
        with borrowed(self._stream.fileno()) as sock:
            return sock.getsockname()

    def shutdown(self, how: int) -> None:
        """Shut down one or both sides, as ``socket.shutdown``."""
        self._take_over()
        with borrowed(self._stream.fileno()) as sock:
            sock.shutdown(how)

    def close(self) -> None:
        """End the connection when the application returns."""
        self._take_over()
