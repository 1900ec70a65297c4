"""How messages get from worker to worker: each listens at a unix socket in a directory that only they share.

Every worker connects to every other one and sends there what it publishes. A connection begins with the sender's
address and what its channels remember, so that a newcomer knows their recent past; whoever is greeted by a stranger
connects back. A worker that does not take its messages is waited for a moment, then it misses some, which it sees in
the publishers' numbers: it costs the others nothing more.

Knows processes as addresses, channels as names and messages as text.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gevent
from gevent import get_hub, socket
from gevent.event import Event
from greenlet import getcurrent

from geventwsgi.events.place import HERE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from geventwsgi.events.channel import Channel

#: Kinds of frames: the sender's address; a message; all that the sender remembers has been sent.
HELLO, MESSAGE, CAUGHT_UP = range(3)
#: Kind, length of the name, length of the text, the publisher's number; its source, the name and the text follow.
HEAD = struct.Struct("!BBIQ8s")
#: Bytes received at once.
RECV = 1 << 16
#: Bytes on their way to one worker from which on publishers wait for it.
PENDING = 1 << 20
#: Seconds for which they do.
PATIENCE = 1.0
#: Seconds that a worker waits at its start for what the others remember.
CATCH_UP = 2.0


class Frame(NamedTuple):
    """What workers say to each other."""

    kind: int
    source: str = ""
    number: int = 0
    name: str = ""
    text: str = ""

    def encode(self) -> bytes:
        """Return the frame as it is sent."""
        name, text = self.name.encode(), self.text.encode("utf-8", "surrogatepass")
        return HEAD.pack(self.kind, len(name), len(text), self.number, self.source.encode()) + name + text


class Decoder:
    """Frames from bytes, in pieces as they come."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete."""
        buffer, start = self._buffer + data, 0
        while len(buffer) - start >= HEAD.size:
            kind, name_size, text_size, number, source = HEAD.unpack_from(buffer, start)
            name_at = start + HEAD.size
            text_at = name_at + name_size
            if len(buffer) < text_at + text_size:
                break
            start = text_at + text_size
            name, text = buffer[name_at:text_at].decode(), buffer[text_at:start].decode("utf-8", "surrogatepass")
            yield Frame(kind, source.rstrip(b"\0").decode(), number, name, text)
        self._buffer = buffer[start:]


class Relay:
    """This process's part in it; without a directory to meet in, messages stay in the process."""

    counted = True

    def __init__(self, directory: str | None) -> None:
        #: Names this process as a publisher, in no other process and never again.
        self.source = os.urandom(4).hex()
        self._numbers: dict[str, int] = {}
        self._channels: dict[str, list[Channel]] = {}
        self._peers: dict[str, Peer] = {}
        #: By address: set when its connection to us has caught up.
        self._heard: dict[str, Event] = {}
        self._address = ""
        self._directory = Path(directory) if directory else None

    # A channel's side (see channel.Carrier)

    def join(self, channel: Channel) -> None:
        """Deliver to ``channel``; the first one makes this process meet the others."""
        channels = self._channels.setdefault(channel.name, [])
        channels.append(channel)
        if self._directory is not None and not self._address:
            self._meet(self._directory)
        elif len(channels) > 1:
            for message in channels[0].messages:
                channel.deliver(message.source, message.number, message.text)

    def leave(self, channel: Channel) -> None:
        """Deliver no more to ``channel``."""
        self._channels[channel.name].remove(channel)

    def publish(self, channel: Channel, text: str) -> None:
        """Give a message its number, deliver it here and send it to all peers."""
        name = channel.name
        number = self._numbers[name] = self._numbers.get(name, 0) + 1
        self._deliver(name, self.source, number, text)
        if self._peers:
            data = Frame(MESSAGE, self.source, number, name, text).encode()
            for peer in tuple(self._peers.values()):
                peer.send(data)

    def _deliver(self, name: str, source: str, number: int, text: str) -> None:
        for channel in tuple(self._channels.get(name, ())):
            channel.deliver(source, number, text)
            if source != self.source:
                channel.pace()

    # Meeting

    def _meet(self, directory: Path) -> None:
        """Listen, then connect to all who listen already, and hear what they remember."""
        _make_private(directory)
        self._address = f"{os.getpid()}.{self.source}"
        listener = socket.socket(socket.AF_UNIX)
        path, unfinished = directory / self._address, directory / f".{self._address}"
        listener.bind(str(unfinished))
        listener.listen(512)
        # Only now does it appear: whoever finds an address that refuses removes it as a dead worker's.
        unfinished.rename(path)
        atexit.register(_remove_own, path, os.getpid())
        gevent.spawn(self._accept, listener)
        others = [entry.name for entry in directory.iterdir() if not entry.name.startswith(".")]
        asked = [address for address in others if address != self._address and self._connect(address)]
        if getcurrent() is not get_hub():
            gevent.wait([self._heard_of(address) for address in asked], timeout=CATCH_UP)

    def _heard_of(self, address: str) -> Event:
        return self._heard.setdefault(address, Event())

    def _connect(self, address: str) -> bool:
        """Connect to a worker, tell it what we remember, and send it what we publish from now on."""
        assert self._directory is not None  # noqa: S101 - for the type checker
        path = self._directory / address
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(str(path))
        except OSError as error:
            sock.close()
            if isinstance(error, ConnectionRefusedError):
                path.unlink(missing_ok=True)
            return False
        if address in self._peers:  # it has asked for a connection meanwhile
            sock.close()
            return True
        peer = self._peers[address] = Peer(sock, lambda peer: self._drop(address, peer))
        peer.send(Frame(HELLO, text=self._address).encode())
        for name, channels in self._channels.items():
            for message in channels[0].messages if channels else ():
                peer.send(Frame(MESSAGE, message.source, message.number, name, message.text).encode(), wait=False)
        peer.send(Frame(CAUGHT_UP).encode(), wait=False)
        return True

    def _drop(self, address: str, peer: Peer | None = None) -> None:
        if peer is None or self._peers.get(address) is peer:
            gone = self._peers.pop(address, None)
            self._heard.pop(address, None)
            if gone is not None:
                gone.close()

    # Hearing

    def _accept(self, listener: Any) -> None:
        while True:
            sock, _ = listener.accept()
            gevent.spawn(self._hear, sock)

    def _hear(self, sock: Any) -> None:
        """Take in what one worker says, until it ends."""
        decoder, address = Decoder(), ""
        with sock, contextlib.suppress(OSError):
            while data := sock.recv(RECV):
                for frame in decoder.feed(data):
                    if frame.kind == MESSAGE:
                        self._deliver(frame.name, frame.source, frame.number, frame.text)
                    elif frame.kind == HELLO:
                        address = frame.text
                        if address not in self._peers:
                            self._connect(address)
                    else:
                        self._heard_of(address).set()
        self._drop(address)


class Peer:
    """Another worker, and what is on its way to it.

    :param on_lost: called with this object when the worker can no longer be reached.
    """

    def __init__(self, sock: Any, on_lost: Callable[[Peer], object]) -> None:
        self._sock = sock
        self._on_lost = on_lost
        self._pending: list[bytes] = []
        self._size = 0
        #: Set while there is less than :data:`PENDING` on its way.
        self._room = Event()
        self._room.set()
        #: Whether it was waited for in vain: it misses messages until it takes some again.
        self._stuck = False
        self._writer: Any = None
        self._closed = False

    def send(self, data: bytes, *, wait: bool = True) -> None:
        """Have ``data`` sent, in order and together with what else is to be sent.

        :param wait: be patient with a worker that is behind, if this greenlet can wait.
        """
        if wait and not self._room.is_set():
            if not self._stuck and getcurrent() is not get_hub():
                self._stuck = not self._wait_for_room()
            if self._stuck or self._closed:
                return
        self._pending.append(data)
        self._size += len(data)
        if self._size > PENDING:
            self._room.clear()
        if self._writer is None:
            self._writer = gevent.spawn(self._write)

    def _wait_for_room(self) -> bool:
        """Wait for as long as the worker takes anything; return whether there is room."""
        size = self._size
        while not self._room.wait(PATIENCE):
            if self._size >= size:
                return False
            size = self._size
        return True

    def _write(self) -> None:
        try:
            while self._pending:
                pending, self._pending = self._pending, []
                data = memoryview(b"".join(pending))
                while data:
                    sent = self._sock.send(data)
                    data = data[sent:]
                    self._size -= sent
                    if self._size <= PENDING:
                        self._stuck = False
                        self._room.set()
        except OSError:
            self._on_lost(self)
        finally:
            self._writer = None

    def close(self) -> None:
        """Give up the connection."""
        self._closed = True
        self._room.set()
        self._sock.close()


def _make_private(directory: Path) -> None:
    """Make the directory, unless another worker has; nobody else may have a hand in it.

    :raises PermissionError: it is somebody else's, or open to others.
    """
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{directory} is not a private directory of this user: remove it")


def _remove_own(path: Path, pid: int) -> None:
    if os.getpid() == pid:
        path.unlink(missing_ok=True)


class _Own:
    """The relay of this process; a fork makes another one."""

    def __init__(self) -> None:
        self.pid = 0
        self.relay: Relay


_own = _Own()


def relay() -> Relay:
    """Return this process's relay."""
    if _own.pid != os.getpid():
        _own.pid = os.getpid()
        _own.relay = Relay(HERE.directory)
    return _own.relay
