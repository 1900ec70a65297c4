"""One client's socket: the only place that receives from it and sends to it.

It knows no HTTP. It waits on the loop directly, by the server's poller and the raw non-blocking socket. gevent's own
socket object would cost more than everything else that is done for a small request.

The poller tells of an event when it happens, whether or not anybody waits for it, and does not repeat itself:

* It switches into a greenlet only while that greenlet waits for this very socket: ``_reader`` and ``_writer`` say so. A
  greenlet that sleeps or waits for a lock must not be woken from here.
* Events are remembered: ``hot`` means that the kernel probably has bytes, so that receiving is tried before waiting,
  and ``gone`` that the client has closed its side.
"""

from __future__ import annotations

from socket import SO_ERROR, SOL_SOCKET
from typing import TYPE_CHECKING, Any, Protocol

from gevent import sleep
from gevent.exceptions import ConcurrentObjectUseError
from greenlet import getcurrent

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected
from geventwsgi.forks import close, hold
from geventwsgi.serving.loop.deadlines import NEVER
from geventwsgi.serving.wire import sending
from geventwsgi.serving.wire.poller import GONE, LOST, READABLE, WRITABLE
from geventwsgi.serving.wire.sockets import borrowed

if TYPE_CHECKING:
    from geventwsgi.serving.loop.runners import Sleeper
    from geventwsgi.serving.wire.sending import Common
    from geventwsgi.serving.wire.sockets import Socket

#: Cost of one receive, in units of the budget (1 = one send).
RECEIVE = 4
#: Bytes. A receive of this size or more returns not only what was received ahead, but also what has come since.
#: Otherwise the first piece of an upload, of which a part came with the head, would have to be joined by copying.
WORTH_FILLING = 16384
#: Cost of taking bytes that were received ahead, in the same units: mostly they are a pipelined request.
PIPELINED = 20
#: The events, as C numbers in the compiled core.
_READABLE, _WRITABLE, _GONE, _LOST = READABLE, WRITABLE, GONE, LOST
CLOSED = "the connection has been closed"
#: Receives in a row of bytes that are discarded, before other connections get a turn.
THROWN_AWAY = 16


class DeadlineExpired(Exception):
    """Nothing was received in the time given to :meth:`Stream.recv`."""


class Guard(Protocol):
    """The object that is notified when the client closes its side or is gone, even while nobody receives."""

    def client_ended(self) -> None:
        """Act on it. Called in the hub, perhaps more than once."""


class Stream(sending.Sending):
    """A connected socket, read and written by greenlets of one hub."""

    __slots__ = (
        "_ahead", "_expired", "_interrupted", "_reader", "_sleeper", "gone", "guard", "hot", "lost", "parked_until",
        "waited",
    )  # fmt: skip

    #: Whether received bytes are encrypted, as in :class:`~.tls_stream.TLSStream`.
    encrypted = False

    def __init__(self, sock: Socket, common: Common) -> None:
        """Take over ``sock``, which must be non-blocking."""
        sending.Sending.__init__(self, sock, common)
        #: Seconds of all waits for the client's bytes; reset by the protocol.
        self.waited = 0.0
        #: Received but not yet asked for.
        self._ahead = b""
        #: Whether the kernel probably has bytes, or the end of the stream. True at first, since a new client has a
        #: request to send. Set by events, reset by a receive that finds nothing more.
        self.hot = True
        #: The greenlet inside :meth:`_wait_readable`; set and reset there.
        self._reader: Any = None
        #: The parked connection, which is woken instead of a greenlet; set by :meth:`park`.
        self._sleeper: Sleeper | None = None
        #: Set by :meth:`expire`, read and reset by the wait that it ends.
        self._expired = False
        #: Set by :meth:`interrupt` for good.
        self._interrupted = False
        #: Whether the client was seen to have closed its side, or to have reset the connection.
        self.gone = False
        #: Whether the connection is over for good: reset, or closed in both directions.
        self.lost = False
        #: Set by the connection.
        self.guard: Guard | None = None
        self.deadline = NEVER
        self.tick = 0
        #: When the last :meth:`park` would have timed out (``clock.monotonic``); 0 if that does not matter.
        self.parked_until = 0.0
        self.watched = False

    def watch(self) -> None:
        """Have the poller report what the client does, even while nobody waits for it.

        :raises ClientDisconnected: the system cannot watch another socket.
        """
        if not (self.watched or self.closed):
            self._common.poller.watch(self, self._sock.fileno(), _READABLE)
            self.watched = True

    # Reading

    def recv(self, size: int, timeout: float | None = None) -> bytes:
        """Return 1 to ``size`` bytes as soon as there are any, ``b""`` at the end of the stream.

        :param timeout: seconds to wait; None for ever.
        :raises DeadlineExpired: nothing came in time.
        :raises ClientDisconnected: the connection was reset.
        :raises ConcurrentObjectUseError: another greenlet waits for the client's bytes.
        """
        self._work(RECEIVE)
        if self._reader is not None:
            self._refuse_second()
        if self._ahead:
            return self._fill_up(size) if self.hot and size >= WORTH_FILLING else self._take(size)
        return self._receive(size, timeout)

    def _take(self, size: int) -> bytes:
        if size < 0:
            raise ValueError("negative buffersize in recv")
        self._turn += PIPELINED
        ahead = self._ahead
        self._ahead = ahead[size:]
        return ahead[:size]

    def _fill_up(self, size: int) -> bytes:
        """Return what was received ahead, and what has come since, in one piece."""
        ahead = self._ahead
        if len(ahead) >= size:
            return self._take(size)
        self._ahead = b""
        data = self._sock.recv_after(ahead, size)
        self.hot = len(data) == size or self.gone
        return data

    def recv_now(self, size: int) -> bytes | None:
        """Return what has come, up to ``size`` bytes: ``b""`` at the end of the stream, None if nothing has.

        :raises ClientDisconnected: the connection was reset.
        """
        self._work(RECEIVE)
        if self._ahead:
            return self._take(size)
        return self._try_receive(size)

    def _try_receive(self, size: int) -> bytes | None:
        data = self._sock.recv(size)
        if data is None:
            self.hot = False
            return b"" if self._interrupted else None
        self.hot = len(data) == size or self.gone
        return data

    def _receive(self, size: int, timeout: float | None) -> bytes:
        if not self.hot:
            self._wait_readable(timeout)
        while (data := Stream._try_receive(self, size)) is None:
            self._wait_readable(timeout)
        return data

    def recv_raw(self, size: int, timeout: float) -> bytes:
        """As :meth:`recv`, but without decrypting, where a subclass does: for what comes before TLS."""
        return Stream._receive(self, size, timeout)

    def unread_raw(self, data: bytes) -> None:
        """Hand back bytes of :meth:`recv_raw` that its caller does not need."""
        self.unread(data)

    def spend(self, receives: int) -> None:
        """Count work that was done on received bytes, in receives."""
        self._turn += receives * RECEIVE

    def unread(self, data: bytes) -> None:
        """Hand back received bytes: the next receive returns them first."""
        self._ahead = data + self._ahead

    def ahead(self) -> bool:
        """Return whether there are bytes that were received ahead: the loop reports no event for them."""
        return bool(self._ahead)

    def leave_unread(self) -> None:
        """Take no bytes from the kernel before they are asked for, since others wait for its descriptor."""

    def wait(self, timeout: float | None) -> bool:
        """Wait until something comes; return False if nothing has after ``timeout`` seconds (None: no limit)."""
        try:
            self._wait_readable(timeout)
        except DeadlineExpired:
            return False
        return True

    def _wait_readable(self, timeout: float | None) -> None:
        if self._interrupted:
            return
        if self._reader is not None:
            self._refuse_second()
        self.watch()
        if timeout is not None:
            self._common.deadlines.arm(self, timeout)
        self._turn = 0
        in_flight = self._step_back()
        self.waited -= clock.monotonic()
        self._reader = getcurrent()
        try:
            self._common.hub.switch()
        finally:
            self._reader = None
            self.deadline = NEVER
            self.waited += clock.monotonic()
        if self._expired:
            self._expired = False
            raise DeadlineExpired
        if in_flight:
            self._step_forth()

    def _refuse_second(self) -> None:
        raise ConcurrentObjectUseError("another greenlet waits for this client's bytes: let one at a time receive")

    def happened(self, events: int) -> None:
        """See :meth:`.Endpoint.happened`."""
        if events & _GONE:
            self._end(lost=events & _LOST != 0)
        if events & _WRITABLE and self._writer is not None:
            self._common.rests.then(self._has_room)
        if events & (_READABLE | _GONE):
            self.hot = True
            if self._reader is not None:
                self._reader.switch()
            elif self._sleeper is not None:
                self._wake(False)

    def _end(self, *, lost: bool) -> None:
        self.gone = True
        self.lost = self.lost or lost
        if self.guard is not None:
            self.guard.client_ended()

    @property
    def awaited(self) -> bool:
        """See :class:`.Endpoint`. A connection that was parked although bytes had come does not wait for them."""
        return self._reader is not None or (self._sleeper is not None and not self.hot)

    def at_end(self) -> bool:
        """Return whether the next receive would find the end of the stream, or an error; takes nothing out."""
        try:
            return self._sock.peek() == b""
        except ClientDisconnected:
            return True

    def readable(self) -> bool:
        """Return whether a receive would find bytes, the end of the stream, or an error; takes nothing out."""
        try:
            return self._sock.peek() is not None
        except ClientDisconnected:
            return True

    def expire(self) -> None:
        """End the wait whose deadline has passed; see :class:`~geventwsgi.serving.loop.deadlines.Holder`.

        Where the loop itself was late, the bytes may be there by now: then the client was in time.
        """
        if self._reader is not None:
            self._expired = not self.readable()
            self._reader.switch()
        elif self._sleeper is not None:
            self.hot = self.readable()
            self._wake(not self.hot)

    def hurry(self, seconds: float) -> None:
        """Shorten a wait that is under way to ``seconds`` from now."""
        waits = self._reader is not None or self._sleeper is not None
        if waits and self.deadline > clock.monotonic() + seconds:
            self._common.deadlines.arm(self, seconds)

    def interrupt(self) -> None:
        """Never wait from now on: receives return what has already arrived, then the end of the stream."""
        self._interrupted = True
        if self._reader is not None:
            self._common.hub.loop.run_callback(self._resume_reader)

    def _resume_reader(self) -> None:
        if self._reader is not None:
            self._reader.switch()

    def in_use(self) -> bool:
        """Return whether a greenlet is in the midst of a call that receives or sends."""
        return self._reader is not None or self._writer is not None or self._yielding > 0

    def dismiss(self) -> bool:
        """Raise :class:`ClientDisconnected` in greenlets that are inside a call: their request has ended.

        :returns: whether something was cut while it was sent.
        """
        if not self.in_use():
            return False
        self._era += 1  # for greenlets inside yield_turn
        cut = self._writer is not None
        self._common.hub.loop.run_callback(self._dismiss_all)
        sleep(0)
        return cut

    def _dismiss_all(self) -> None:
        self._dismiss_reader()
        if self._writer is not None:
            self._writer.throw(ClientDisconnected(CLOSED))

    def _dismiss_reader(self) -> None:
        if self._reader is not None:
            self._reader.throw(ClientDisconnected(CLOSED))

    # Parking

    def park(self, sleeper: Sleeper, timeout: float) -> None:
        """Keep the connection without a greenlet until bytes or the client's end come, or ``timeout`` seconds pass.

        Bytes that have come before cause no event. So the caller first looks whether the stream is :attr:`hot` or has
        bytes :meth:`ahead`.

        :param sleeper: is woken once; at once, as by a timeout, if the system cannot watch the socket.
        """
        self._turn = 0
        self._sleeper = sleeper
        self._common.deadlines.arm(self, timeout)
        if not (self.watched or self.hot):
            try:
                self.watch()
            except ClientDisconnected:
                self._wake(True)

    def unpark(self) -> None:
        """Wake a parked connection at once, as if its client had sent something."""
        if self._sleeper is not None:
            self._wake(False)

    def rouse(self) -> None:
        """See :meth:`.Sending.rouse`. A greenlet that is about to wait will not."""
        self.hot = True
        if self._reader is not None:
            self._common.hub.loop.run_callback(self._resume_reader)
        else:
            self.unpark()

    @property
    def parked(self) -> bool:
        """Whether :meth:`park` waits."""
        return self._sleeper is not None

    def _wake(self, timed_out: bool) -> None:
        sleeper, self._sleeper = self._sleeper, None
        self.parked_until = self.deadline
        self.deadline = NEVER
        if sleeper is not None:
            sleeper.wake(timed_out)

    # Ending

    def failed(self) -> bool:
        """Return whether the connection was reset; the kernel reports it once."""
        with borrowed(self._sock.fileno()) as sock:
            return bool(sock.getsockopt(SOL_SOCKET, SO_ERROR))

    def waited_for_by(self, greenlet: Any) -> bool:
        """Return whether ``greenlet`` waits for this very socket, and so is woken by its end."""
        return greenlet is self._reader or greenlet is self._writer

    def cut(self) -> None:
        """Make the end look like a broken connection, where that is possible without a reset."""

    def finish(self) -> None:
        """Dismiss greenlets that wait, and send what comes before the end. This may wait for room."""
        self.dismiss()

    def finished(self, more_comes: bool = False, last: bool = False) -> bool:
        """Return whether the socket can be closed without loss; if not, signal the end of this side.

        If the client may send more, its bytes would be answered by a reset, which discards what it has not received yet
        (RFC 9112 section 9.6). If all of that has arrived, the close itself tells the client that this is the end.

        :param more_comes: whether the client is known to be still sending.
        :param last: whether the client has said that it sends no more; see :meth:`.Socket.settled`.
        """
        if self.kept:
            self.hand_over()
        self.interrupt()
        settled = not more_comes and not self.ahead() and self._sock.settled(last)
        self._held = self.gathers = False
        if not settled:
            try:
                self._sock.end_sending()
            except ClientDisconnected:
                return True
        return settled

    def throw_away(self) -> bool:
        """Discard what the client has sent, encrypted or not; return whether more may come.

        :raises ClientDisconnected: the connection was reset.
        """
        self._ahead = b""
        for _ in range(THROWN_AWAY):
            count = self._sock.discard()
            if not count:
                return count is None
        self._common.poller.tell_again(self, self._sock.fileno())
        return True

    def owed(self) -> int:
        """Return how many sent bytes the client has not acknowledged; see :meth:`.Socket.unread`."""
        return self._sock.unread()

    def close(self) -> None:
        """Close the socket; what was sent still arrives. Greenlets that wait for the client get an exception."""
        if self._reader is not None:
            self._common.hub.loop.run_callback(self._dismiss_reader)
        if self._writer is not None:
            self.give_up()
        self._common.deadlines.forget(self)
        self._sleeper = self.guard = None
        if self._stall is not None:
            self._common.deadlines.forget(self._stall)
            self._stall = None
        if not self.closed:
            self.closed = True
            if self.kept:
                self.hand_over()
            self._common.poller.forget(self, self._sock.fileno())
            if self._held or self.gathers:
                self._let_go()
            self._sock.close()

    def _let_go(self) -> None:
        """Send what the kernel holds back, with the end; closing alone would drop it if the client had sent more."""
        try:  # noqa: SIM105 - a context manager would cost a third of what is saved
            self._sock.end_sending()
        except ClientDisconnected:
            pass

    def abort(self) -> None:
        """Close the socket so that the client sees a reset, not an end."""
        self._sock.reset_on_close()
        self._held = False
        Stream.close(self)  # not a subclass's, which may send close_notify first

    def can_detach(self) -> bool:
        """Return False while something is received or sent, while a part of a response is kept, and over TLS."""
        return not (self.closed or self.encrypted or self.left or self.kept or self._held or self.in_use())

    def detach(self) -> tuple[int, bytes] | None:
        """Give up the socket, which stays open: return its descriptor, and the bytes that were received ahead.

        The stream is closed then. It returns None, and does nothing, unless :meth:`can_detach`.
        """
        if not self.can_detach():
            return None
        fd, ahead = self._sock.fileno(), self._ahead
        if self.gathers:
            self.gather(False)
        self._common.poller.forget(self, fd)
        self._common.deadlines.forget(self)
        if self._stall is not None:
            self._common.deadlines.forget(self._stall)
            self._stall = None
        self._sleeper = self.guard = None
        self.closed = True
        self._ahead = b""
        return self._sock.detach(), ahead

    def let_go(self) -> None:
        """Close the descriptor in a process that was forked (:mod:`geventwsgi.forks`), and nothing else.

        The connection stays its parent's. No event, deadline or byte of it matters any more; reads and sends fail.
        """
        hold(self._reader, self._writer, self._sleeper, self.guard)
        self._reader = self._writer = self._sleeper = self.guard = None
        self.closed = self.left = self.hot = True
        self.kept = self.kept_too = b""
        self.deadline = NEVER
        if self._stall is not None:
            self._stall.deadline = NEVER
        fd = self._sock.detach()  # its own close would shut the connection down
        if fd >= 0:
            close(fd)

    def fileno(self) -> int:
        """Return the descriptor of the socket, -1 once closed."""
        return self._sock.fileno()
