"""A client's stream over TLS. The TLS object works on memory; :class:`Stream` keeps the socket.

The loop does not see bytes that the TLS object has decrypted and nobody has read. So a receive asks the TLS object
first, and then waits for the socket.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from typing import TYPE_CHECKING

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.loop.deadlines import NEVER
from geventwsgi.serving.wire import stream
from geventwsgi.serving.wire.rest import FileRange, Offer
from geventwsgi.serving.wire.stream import DeadlineExpired

if TYPE_CHECKING:
    from geventwsgi.serving.wire.rest import Taker
    from geventwsgi.serving.wire.sending import Common
    from geventwsgi.serving.wire.sockets import Socket

#: Ciphertext received at once: a little more than one TLS record.
RECORD = 17408
#: Plaintext encrypted at once, which bounds the memory that a slow reader can hold.
BLOCK = 65536


class TLSStream(stream.Stream):
    """A connected socket that speaks TLS as the server."""

    __slots__ = ("_ended", "_incoming", "_looks", "_outgoing", "_suppress_ragged_eofs", "established", "ssl_object")

    encrypted = True

    def __init__(self, sock: Socket, common: Common, context: ssl.SSLContext, *, suppress_ragged_eofs: bool) -> None:
        """Take over ``sock``, which must be non-blocking.

        :param suppress_ragged_eofs: whether an end without close_notify is an end like any other, or a disconnect.
        """
        super().__init__(sock, common)
        #: Whether :meth:`handshake` has succeeded.
        self.established = False
        #: Whether close_notify was made.
        self._ended = False
        self._suppress_ragged_eofs = suppress_ragged_eofs
        #: Whether :meth:`_look` may take bytes from the kernel; reset by :meth:`leave_unread`.
        self._looks = True
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.ssl_object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def handshake(self, timeout: float) -> None:
        """Complete the TLS handshake.

        :param timeout: seconds for the whole of it.
        :raises DeadlineExpired: the client was too slow.
        :raises ClientDisconnected: the client left, or spoke no TLS that the context accepts.
        """
        until = clock.monotonic() + timeout
        while True:
            try:
                self.ssl_object.do_handshake()
            except ssl.SSLWantReadError:  # the TLS object needs more bytes
                self._flush()
                self._feed(super()._receive(RECORD, max(0.0, until - clock.monotonic())))
            except ssl.SSLError as error:
                raise ClientDisconnected(f"TLS handshake failed: {error.reason or error}") from error
            else:
                self._flush()
                self.established = True
                return

    def unread_raw(self, data: bytes) -> None:
        """See :meth:`.Stream.unread_raw`."""
        self._incoming.write(data)

    def _receive(self, size: int, timeout: float | None) -> bytes:
        data = self._decrypt(size)
        if data is not None:
            return data
        # A record may come in pieces, none of which gives the client more time.
        until = NEVER if timeout is None else clock.monotonic() + timeout
        while data is None:
            self._flush_aside()
            if not self._feed(super()._receive(RECORD, timeout)):
                return b""
            data = self._decrypt(size)
            if data is None and timeout is not None:
                timeout = until - clock.monotonic()
                if timeout <= 0:
                    raise DeadlineExpired
        return data

    def _fill_up(self, size: int) -> bytes:
        """See :meth:`Stream._fill_up`: what the kernel has is ciphertext."""
        return self._take(size)

    def _try_receive(self, size: int) -> bytes | None:
        while (data := self._decrypt(size)) is None:
            self._flush_aside()
            received = super()._try_receive(RECORD)
            if received is None:
                return None
            if not self._feed(received):
                return b""
        return data

    def _decrypt(self, size: int) -> bytes | None:
        """Return what the TLS object can decrypt: ``b""`` at the end, None if it needs more."""
        try:
            return self.ssl_object.read(size)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            if self._suppress_ragged_eofs and _is_cut(error):
                return b""
            raise ClientDisconnected(f"TLS: {error.reason or error}") from error

    def _feed(self, data: bytes) -> bool:
        """Pass received ciphertext on to the TLS object; return False if a read would wait for more in vain."""
        if data:
            self._incoming.write(data)
        elif self._interrupted:
            return False
        else:
            self._incoming.write_eof()
        return True

    def ahead(self) -> bool:
        """See :meth:`Stream.ahead`."""
        return bool(self._ahead or self.ssl_object.pending() or self._incoming.pending)

    def happened(self, events: int) -> None:
        """See :meth:`Stream.happened`. A client that closes sends an alert first, also when nobody receives."""
        try:
            super().happened(events)
        finally:
            if self.established and self.hot and self._looks and not (self.awaited or self.gone or self._ahead):
                self._look()

    def leave_unread(self) -> None:
        """See :meth:`Stream.leave_unread`."""
        self._looks = False

    def _look(self) -> None:
        """Decrypt a record, if one has come, to see whether it is the client's last."""
        try:
            received = super()._try_receive(RECORD)
            if received is None:
                return
            self._feed(received)
            data = self._decrypt(RECORD)
        except ClientDisconnected:
            data = b""
        if data is not None:
            self._ahead = data
            if not data:
                self._end(lost=False)

    def send(self, data: bytes, more: bool = False) -> None:
        """See :meth:`Stream.send`."""
        view = memoryview(data)
        for start in range(0, len(view), BLOCK):
            self.take_turns()  # before the record is made, since records are sent in the order in which they are made
            if self.left or self.writing:
                self._refuse()
            try:
                self.ssl_object.write(view[start : start + BLOCK])
            except ssl.SSLError as error:
                raise ClientDisconnected(f"TLS: {error.reason or error}") from error
            self._flush(more=more)

    def send_parts(
        self, first: bytes, second: bytes, third: bytes = b"", fourth: bytes = b"", more: bool = False
    ) -> None:
        """See :meth:`Stream.send_parts`."""
        parts = (first, second, third, fourth)
        if sum(map(len, parts)) <= BLOCK:
            self.send(b"".join(parts), more)
        else:
            for part in parts:
                self.send(part)

    def send_last(self, first: bytes, second: bytes) -> None:
        """See :meth:`Stream.send_last`; what is encrypted is not kept."""
        self.send_parts(first, second)

    def send_file(self, fileno: int, offset: int, count: int, head: bytes = b"", more: bool = False) -> None:
        """See :meth:`Stream.send_file`; here the bytes must pass through this process."""
        file = FileRange(fileno, offset, count)
        file.keep()
        try:
            if head:
                self.send(head, more)
            while count:
                data = os.pread(file.fileno, min(count, BLOCK), offset)
                if not data:
                    raise ClientDisconnected("the file became shorter while it was sent")
                self.send(data)
                offset += len(data)
                count -= len(data)
        finally:
            file.let_go()

    def _flush(self, more: bool = False) -> None:
        data = self._outgoing.read()
        if data:
            super().send(data, more=more)

    def _flush_aside(self) -> None:
        """Send what receiving has brought about, but not in the middle of another greenlet's send."""
        if not self.writing:
            self._flush()

    def send_aside(self, data: bytes) -> int:
        """See :meth:`Stream.send_aside`."""
        if self.writing or self.closed:
            return 0
        try:
            self.ssl_object.write(data)
        except ssl.SSLError:
            return 0
        record = self._outgoing.read()
        self._outgoing.write(record[super().send_aside(record) :])  # the rest is sent first with the next send
        return len(data)

    def offer(self, data: bytes, taker: Taker) -> bool:
        """See :meth:`Stream.offer`."""
        if self.left or self.writing:
            self._refuse()
        offer = EncryptedOffer(self, taker, data)
        if not offer.send(self._sock):
            return True
        self._await_room(offer, offer)
        return False

    def encrypted_part(self, data: memoryview) -> bytes:
        """Encrypt ``data``, a block at most; return it behind what was encrypted before.

        :raises ClientDisconnected: the TLS object refuses.
        """
        try:
            self.ssl_object.write(data)
        except ssl.SSLError as error:
            raise ClientDisconnected(f"TLS: {error.reason or error}") from error
        return self._outgoing.read()

    def cut(self) -> None:
        """See :meth:`Stream.cut`: an end without close_notify."""
        self._ended = True

    def finish(self) -> None:
        """See :meth:`Stream.finish`: close_notify, so that the client can tell the end from a cut (RFC 8446, 6.1)."""
        super().finish()
        if not (self.closed or self.left):
            self._end_session()
            with contextlib.suppress(ClientDisconnected):
                self._flush()

    def _end_session(self) -> None:
        if not self._ended:
            self._ended = True
            with contextlib.suppress(ssl.SSLError, ValueError):  # it would wait for the client's close_notify
                self.ssl_object.unwrap()

    def _hand_over_end(self) -> None:
        """Pass close_notify, or an alert, to the kernel, if it has room."""
        self._end_session()
        with contextlib.suppress(OSError):
            self._sock.send(self._outgoing.read())

    def finished(self, more_comes: bool = False, last: bool = False) -> bool:
        """See :meth:`Stream.finished`."""
        self._hand_over_end()
        return super().finished(more_comes, last)

    def throw_away(self) -> bool:
        """See :meth:`Stream.throw_away`. The bytes are not decrypted any more, and the TLS object is released."""
        if self.ssl_object is not None:
            self.established = False
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.ssl_object = None  # type: ignore[assignment]  # nobody reads or sends any more
        return super().throw_away()

    def close(self) -> None:
        """See :meth:`Stream.close`; close_notify is sent if the kernel takes it at once."""
        if not (self.closed or self._ended):
            self._hand_over_end()
        super().close()


class EncryptedOffer(Offer):
    """The rest of bytes that were offered. They are encrypted block by block, when the kernel has room."""

    __slots__ = ("_record", "_stream")

    def __init__(self, stream: TLSStream, taker: Taker, data: bytes) -> None:
        super().__init__(stream, taker, data, 0)
        self._stream = stream
        #: The part of the last block that has not been sent yet.
        self._record = b""

    def send(self, sock: Socket) -> bool:
        """See :meth:`.Rest.send`."""
        while self._record or self._at < len(self._data):
            if not self._record:
                self._record = self._stream.encrypted_part(memoryview(self._data)[self._at : self._at + BLOCK])
                self._at += BLOCK
            self._record = self._record[sock.send(self._record) :]
            if self._record:
                return True
        return False


def _is_cut(error: ssl.SSLError) -> bool:
    """Return whether the client ended without close_notify; older versions of Python have no class for it."""
    return isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING"
