"""Descriptors that one worker passes to another: a client's connection, with the bytes that have been read of it.

Each worker that takes some listens at a socket of its own, beside those of the channels. A passing is one packet
(``SOCK_SEQPACKET``): its kind, facts and bytes, and one descriptor (``SCM_RIGHTS``). The receiver answers each packet:
accepted or refused. Until then the sender has the descriptor as well, and gets it back if the receiver refuses it or
ends. Nothing here waits: a receiver whose socket is full or has gone gets nothing.

This module knows no channel and no client. What a kind of passing means is its handler's business.
"""

from __future__ import annotations

import os
import socket as constants
import struct
from _socket import socket as RawSocket
from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gevent
from gevent import get_hub

from geventwsgi import clock
from geventwsgi.forks import close, displace, hold, keep
from geventwsgi.mesh import own_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from geventwsgi.system.shared import Seat, Slot

    #: A worker that may take something: of this master, or by the name of its socket one of another master.
    Taker: TypeAlias = Seat | str
    #: Takes what was passed: facts, bytes, descriptor. It must not wait. To refuse, it returns None and does not touch
    #: the descriptor. To accept, it returns a function that begins to serve, called once the sender has the answer.
    Handler = Callable[[bytes, bytes, int], Callable[[], object] | None]
    #: Called with a descriptor that no worker has taken. The function must close it or use it.
    Returned = Callable[[int], object]

#: The names of the sockets begin with this; the process id of the worker's master and the number of its slot follow.
PREFIX = "seat."
#: What a packet begins with: its number on this link, and the sizes of its kind and its facts. An answer: the number,
#: and whether the receiver has accepted.
HEAD, ANSWER = struct.Struct("!QHI"), struct.Struct("!Q?")
#: The most bytes of a packet. The system's buffers take more.
MOST = 1 << 17
#: Descriptors for which there is room in a packet; one is right.
DESCRIPTORS = 4
#: Number of packets without an answer after which the sender reads answers: the system keeps only a few of them.
UNANSWERED = 128
#: Packets taken from one worker before the loop turns.
BURST = 64
#: Seconds for which a worker that ends waits at most for the answers to what it has passed.
ANSWERS = 2.0
#: Seconds between two looks for them.
GLANCE = 0.005
#: Seconds between two looks for the workers of another master.
LOOK = 0.2
#: Seconds without accepting when that has failed.
PAUSE = 0.1
_READ = 1
_PACKETS = getattr(constants, "SOCK_SEQPACKET", 0)
_CLOEXEC = int(getattr(constants, "MSG_CMSG_CLOEXEC", 0))
#: A packet or its descriptors did not fit. These are plain numbers: the enumerations of ``socket`` are slow to combine.
_CUT = int(getattr(constants, "MSG_TRUNC", 0)) | int(getattr(constants, "MSG_CTRUNC", 0))
#: Whether this system has such sockets.
possible = bool(_PACKETS and _CLOEXEC and hasattr(constants, "SCM_RIGHTS"))


class TooLargeError(ValueError):
    """What is to be passed does not fit into a packet."""


class Link:
    """The way to one other worker, and what has been passed on it without an answer yet."""

    def __init__(self, sock: RawSocket, name: str, taker: Taker) -> None:
        self.sock = sock
        #: That of the other worker's socket.
        self.name = name
        self.taker = taker
        self.watcher: Any = None
        #: The number of the last packet.
        self.last = 0
        #: By number: the descriptor, and who gets it back.
        self.unanswered: dict[int, tuple[int, Returned]] = {}


class Passing:
    """What this worker passes to others, and takes from them.

    :param directory: that of the workers' sockets.
    :param slot: this worker's fields in shared memory, which show who takes anything.
    :param complain: writes a line to the error log.
    :param master: the process id of this worker's master.
    """

    def __init__(self, directory: Path, slot: Slot, complain: Callable[..., object], master: int) -> None:
        self._directory = directory
        self.slot = slot
        self._mine = f"{PREFIX}{master}."
        self._complain = complain
        self._loop: Any = get_hub().loop
        self._handlers: dict[bytes, Handler] = {}
        self._counts: list[Callable[[int], object]] = []
        self._listener: RawSocket | None = None
        #: A spare descriptor, which is closed when the process can open no more; -1: none.
        self._spare = -1
        #: By the name of the other worker's socket.
        self._links: dict[str, Link] = {}
        #: The sockets of other masters' workers, and when they are looked for again.
        self._theirs: list[str] = []
        self._look_at = 0.0
        #: Those at which nobody listens any more, while their files are there.
        self._dead: set[str] = set()
        #: The sockets of those who pass something to this worker, and the listener, with their watchers.
        self._heard: dict[RawSocket, Any] = {}
        self._buffer = memoryview(bytearray(MOST + 1))
        self._room = constants.CMSG_SPACE(DESCRIPTORS * array("i").itemsize)
        #: Whether a failure of a handler has been logged.
        self._told = False
        keep(self)

    def on(self, kind: str, handler: Handler) -> None:
        """Have what is passed as ``kind`` taken by ``handler``."""
        self._handlers[kind.encode()] = handler

    def count(self, count: Callable[[int], object]) -> None:
        """Have ``count`` called with 1 for each descriptor that is passed, and with -1 once that has an answer.

        Until then it is open in this process, too.
        """
        self._counts.append(count)

    def _count(self, change: int) -> None:
        for count in self._counts:
            count(change)

    # Taking

    def open(self, number: int) -> None:
        """Take what is passed from now on.

        :param number: see :meth:`.Slot.sit`.
        :raises OSError: the socket cannot be made.
        """
        listener = RawSocket(constants.AF_UNIX, _PACKETS)
        listener.setblocking(False)
        own_socket.listen(listener, self._directory, self._name((self.slot.index, number)), 512)
        self._listener = listener
        self._watch(listener, self._accept, listener)
        self._reserve()
        self.slot.sit(number)

    def _name(self, taker: Taker) -> str:
        return taker if isinstance(taker, str) else f"{self._mine}{taker[0]}"

    def _watch(self, sock: RawSocket, function: Callable[..., object], *arguments: object) -> None:
        watcher: Any = self._loop.io(sock.fileno(), _READ, ref=False)
        self._heard[sock] = watcher
        watcher.start(function, *arguments)

    def _accept(self, listener: RawSocket) -> None:
        try:
            fd, _ = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - it makes no object of gevent's
        except BlockingIOError:
            return
        except OSError:  # there are no descriptors, say
            self._turn_away(listener)
            self._pause(listener)
            return
        sock = RawSocket(constants.AF_UNIX, _PACKETS, 0, fileno=fd)
        sock.setblocking(False)
        self._watch(sock, self._hear, sock)

    def _turn_away(self, listener: RawSocket) -> None:
        """Close the connection of a sender, so that it gets back what it has passed: its clients would wait."""
        if self._spare >= 0:
            close(self._spare)
            with suppress(OSError):
                close(listener._accept()[0])  # type: ignore[attr-defined]  # noqa: SLF001 - as above
        self._reserve()

    def _reserve(self) -> None:
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._spare = -1

    def _pause(self, listener: RawSocket) -> None:
        """Accept nothing for a moment."""
        watcher: Any = self._heard[listener]
        timer = self._loop.timer(PAUSE, ref=False)
        watcher.stop()

        def go_on() -> None:
            timer.close()
            if listener in self._heard:
                watcher.start(self._accept, listener)

        timer.start(go_on)

    def _hear(self, sock: RawSocket) -> None:
        """Take some packets; called in the hub."""
        for _ in range(BURST):
            try:
                size, ancillary, flags, _ = sock.recvmsg_into([self._buffer], self._room, _CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                size, ancillary, flags = 0, [], 0
            found = _descriptors(ancillary)
            packet = bytes(self._buffer[:size])
            if size < HEAD.size or not self._answer(sock, packet, found, whole=not flags & _CUT):
                for fd in found:
                    close(fd)
                self._forget(sock)
                return

    def _answer(self, sock: RawSocket, packet: bytes, found: Sequence[int], *, whole: bool) -> bool:
        """Accept or refuse a packet; return whether the sender could be told."""
        number, kind, size = HEAD.unpack_from(packet)
        facts = HEAD.size + kind
        end = facts + size
        begin = self._begin(packet, facts, end, found[0]) if whole and end <= len(packet) and len(found) == 1 else None
        try:
            sock.send(ANSWER.pack(number, begin is not None))
        except BlockingIOError:  # otherwise the sender would believe that nobody has the client
            return False
        except OSError:  # the sender has ended: nobody else has the client
            pass
        if begin is not None:
            self.slot.count_one_more()
            self._try(begin)
        else:
            for fd in found:
                close(fd)
        return True

    def _try(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function of those who use this. What it raises is logged: it would stop the loop's watcher."""
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001 - the next connections are served all the same
            self._complain("A connection that was passed between workers has failed: %r", error, exc_info=error)

    def _begin(self, packet: bytes, facts: int, end: int, fd: int) -> Callable[[], object] | None:
        """Return what begins to serve what was passed; None if it is refused.

        :param facts: where they begin in the packet, and ``end`` where they end.
        """
        try:
            return self._handlers[packet[HEAD.size : facts]](packet[facts:end], packet[end:], fd)
        except Exception as error:  # noqa: BLE001 - whatever comes over the socket, the worker goes on
            if not self._told:
                self._told = True
                self._complain("A connection of another worker was refused: %r", error)
            return None

    def _forget(self, sock: RawSocket) -> None:
        watcher = self._heard.pop(sock, None)
        if watcher is not None:
            watcher.close()
        sock.close()

    # Giving

    def sits(self, taker: Taker) -> bool:
        """Return whether a worker takes connections."""
        if isinstance(taker, str):
            return taker not in self._dead
        return self.slot.sitting(taker[0]) == taker[1]

    def others(self) -> list[str]:
        """Return the workers of another master that take connections: the one before or after this worker's."""
        now = clock.monotonic()
        if now >= self._look_at:
            self._look_at, self._theirs = now + LOOK, []
            with suppress(OSError):
                names = [each for each in os.listdir(self._directory) if each.startswith(PREFIX)]
                self._dead.intersection_update(names)
                self._theirs = [each for each in names if not each.startswith(self._mine)]
        return [each for each in self._theirs if each not in self._dead]

    @property
    def seat(self) -> Seat | None:
        """This worker's seat; None while it takes no connections."""
        number = self.slot.sitting(self.slot.index)
        return (self.slot.index, number) if number else None

    def connections_at(self, taker: Taker) -> int:
        """Return how many connections a worker has, with those that are on their way to it.

        Of another master's worker it is known only how many this one has passed to it.
        """
        link = self._links.get(self._name(taker))
        if isinstance(taker, str):
            return 0 if link is None else link.last
        connections = self.slot.connections_at(taker)
        if link is None or not link.unanswered:
            return connections
        # It counts a connection once it has answered. So none is counted twice if the answers are read after its count.
        self._take_answers(link)
        return connections + len(link.unanswered)

    def send(self, taker: Taker, kind: str, facts: bytes, data: bytes, fd: int, returned: Returned | None) -> bool:
        """Pass a descriptor to another worker, if that can be done at once; return whether it has been done.

        Nothing is done where an exception is raised.

        If it has, ``fd`` belongs to this object. The other worker may serve already when this returns.

        :param returned: gets the descriptor back if the other worker refuses it or ends; None: it is closed.
        """
        name = kind.encode()
        if HEAD.size + len(name) + len(facts) + len(data) > MOST:
            raise TooLargeError(f"no more than {MOST >> 10} KiB of a connection can be passed to another worker")
        link = self._link(taker)
        if link is None or len(link.unanswered) >= UNANSWERED:
            return False
        number = link.last + 1
        rights = [(constants.SOL_SOCKET, constants.SCM_RIGHTS, array("i", [fd]))]
        try:
            link.sock.sendmsg([HEAD.pack(number, len(name), len(facts)), name, facts, data], rights)
        except OSError:  # there is no room, or the worker has gone; the latter its link tells
            return False
        link.last = number
        link.unanswered[number] = fd, returned or close
        self._count(1)
        return True

    def _link(self, taker: Taker) -> Link | None:
        """Return the way to a worker, which may be the one that has the slot of an earlier one; None without any."""
        name = self._name(taker)
        if not self.sits(taker) or name == self._name((self.slot.index, 0)):
            return None
        link = self._links.get(name)
        if link is not None:
            if link.taker == taker:
                return link
            self._end(link)
        sock = RawSocket(constants.AF_UNIX, _PACKETS)
        sock.setblocking(False)
        try:
            sock.connect(str(self._directory / name))
        except OSError as error:
            sock.close()
            if isinstance(taker, str) and isinstance(error, (ConnectionRefusedError, FileNotFoundError)):
                self._dead.add(name)
            return None
        link = self._links[name] = Link(sock, name, taker)
        link.watcher = self._loop.io(sock.fileno(), _READ, ref=False)
        link.watcher.start(self._take_answers, link)
        return link

    def _take_answers(self, link: Link) -> None:
        """Take the answers of a worker, and note its end."""
        while True:
            try:
                answer = link.sock.recv(ANSWER.size)
            except BlockingIOError:
                return
            except ConnectionResetError:  # it has ended without a look at all packets; its answers come next
                continue
            except OSError:
                answer = b""
            if len(answer) != ANSWER.size:
                self._end(link)
                return
            number, accepted = ANSWER.unpack(answer)
            fd, returned = link.unanswered.pop(number, (-1, close))
            if fd >= 0:
                self._count(-1)
                self._try(close if accepted else returned, fd)
            if not link.unanswered:  # nothing else is due
                return

    def _end(self, link: Link) -> None:
        """Give up the way to a worker, and return what it has not accepted."""
        if self._links.get(link.name) is link:
            del self._links[link.name]
        link.watcher.close()
        link.sock.close()
        unanswered, link.unanswered = link.unanswered, {}
        for fd, returned in unanswered.values():
            self._count(-1)
            self._try(returned, fd)

    # Leaving

    def begin_to_leave(self) -> None:
        """See :class:`.Leaver`: the others pass nothing more to this worker."""
        self.slot.rise()
        with suppress(OSError):
            (self._directory / self._name((self.slot.index, 0))).unlink()

    def hand_over(self) -> None:
        """See :class:`.Leaver`: wait a moment for the answers to what this worker has passed."""
        until = clock.monotonic() + ANSWERS
        while any(link.unanswered for link in self._links.values()) and clock.monotonic() < until:
            gevent.sleep(GLANCE)

    def let_go(self) -> None:
        """See :class:`~geventwsgi.forks.Possession`."""
        links = tuple(self._links.values())
        hold(self, links)
        displace(*(sock.fileno() for sock in self._heard), *(link.sock.fileno() for link in links))
        for link in links:
            for fd, _ in link.unanswered.values():
                close(fd)
            link.unanswered = {}


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> Sequence[int]:
    """Return the descriptors that came with a packet; the system may have cut the last one off."""
    found = array("i")
    for level, kind, data in ancillary:
        if level == constants.SOL_SOCKET and kind == constants.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found
