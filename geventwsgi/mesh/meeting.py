"""Connections between the workers of one master, one each way between two. Each worker has a socket in one directory.

A worker listens and connects to all sockets in the directory. From time to time it looks at the directory again: a
connection that has failed or broken is made anew while both workers live.
"""

from __future__ import annotations

import contextlib
import math
import os
from array import array
from fcntl import ioctl
from termios import FIONREAD
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import gevent
from gevent import socket, spawn_raw
from gevent.event import Event

from geventwsgi.forks import close
from geventwsgi.mesh import own_socket
from geventwsgi.mesh.frames import ANSWER, HELLO, NOT_TAKEN, PUBLISH, Decoder, Frame
from geventwsgi.mesh.peer import Peer
from geventwsgi.mesh.place import ADDRESS, HERE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Bytes received at once.
RECV = 1 << 16
#: Seconds between two looks at the directory, after a failure and without one.
RETRY, LOOK = 0.5, 10.0
#: Seconds for which a connection may be open before it sends its address.
GREETING = 10.0
#: Seconds for which a worker that begins waits for the others to connect to it.
INTRODUCTION = 1.0


class Receiver(Protocol):
    """Takes the frames that come."""

    def greeting(self, address: str) -> Iterable[Frame]:
        """Return the first frames for a worker that has just been connected to."""

    def met(self, address: str) -> None:
        """Note that a worker has connected to this one. What it said before is no longer true."""

    def heard(self, address: str, frame: Frame) -> None:
        """Take a frame from a worker; may wait.

        :raises ValueError: the frame is wrong.
        """

    def publish(self, frame: Frame) -> str:
        """Publish a message for a program that is no worker; may wait. Return what is wrong with it, "" if nothing."""

    def left(self, address: str) -> None:
        """Note that a worker cannot be reached any more."""

    def gone(self, address: str) -> None:
        """Note that there is no connection with a worker, in either direction."""


class Meeting:
    """This process's connections to the other workers.

    :param directory: the directory of the sockets, which the first worker makes.
    :param source: a random name of this process.
    """

    def __init__(self, directory: Path, source: str, receiver: Receiver) -> None:
        self.address = f"{os.getpid()}.{source}"
        #: The others, by address.
        self.peers: dict[str, Peer] = {}
        #: Set once this worker and each other one are connected, both ways, or that has failed or taken too long.
        self.met = Event()
        self._directory = directory
        self._receiver = receiver
        self._listener: Any = None
        #: The sockets of those who have connected to this worker, with their addresses.
        self._heard: dict[Any, str] = {}
        #: Monotonic time at which each worker has sent its last bytes; infinity while its frames are being taken.
        self._heard_at: dict[str, float] = {}
        #: Set whenever a worker has connected to this one, or cannot be reached any more.
        self._changed = Event()
        self._wanted = Event()
        #: Failures that have been logged and have not ended.
        self._told: set[str] = set()
        #: Whether this is a forked process, to which the connections do not belong.
        self._forsaken = False
        self._withdrawn = False
        spawn_raw(self._keep)

    # Looking round

    def _keep(self) -> None:
        """Look at the directory again and again; a greenlet's body."""
        while not self._forsaken:
            failed = self._try("listen and connect", self._look)
            if not self.met.is_set():
                self._await_others()
                self.met.set()
            self._wanted.wait(RETRY if failed else LOOK)
            if self._wanted.is_set():
                self._wanted.clear()
                gevent.sleep(RETRY)

    def _await_others(self) -> None:
        """Wait until the workers that this one has connected to have taken the connection and made their own.

        Otherwise one of them might get a message of this worker later than those that others publish after it.
        """
        deadline = monotonic() + INTRODUCTION
        while set(self.peers).difference(self._heard.values()) and (left := deadline - monotonic()) > 0:
            self._changed.clear()
            self._changed.wait(left)

    def _try(self, what: str, function: Any, *args: Any) -> bool:
        """Call ``function``; return whether it failed. A failure is logged once, until the function succeeds."""
        try:
            function(*args)
        except OSError as error:
            if what not in self._told and not self._forsaken:
                self._told.add(what)
                HERE.complain("Channels do not reach all workers: cannot %s: %s; trying again", what, error)
            return True
        self._told.discard(what)
        return False

    def _look(self) -> None:
        """Listen, and connect to all sockets in the directory.

        :raises OSError: one step has failed; the others are done.
        """
        problems = []
        try:
            self._listen()
        except OSError as error:
            problems.append(error)
            if not self._directory.exists():  # it could not be made
                raise
        for name in [entry.name for entry in self._directory.iterdir()]:
            if ADDRESS.fullmatch(name) and name != self.address:
                try:
                    self.connect(name)
                except OSError as error:
                    problems.append(error)
        if problems:
            raise problems[0]

    def _listen(self) -> None:
        """Listen, unless the socket is still there. A program that cleans directories may have removed it."""
        if self._withdrawn or (self._listener is not None and (self._directory / self.address).exists()):
            return
        if self._listener is not None:
            # Its greenlet ends. Connections stay.
            self._listener.close()
            self._listener = None
        self._listener = socket.socket(socket.AF_UNIX)
        own_socket.listen(self._listener, self._directory, self.address, 512)
        spawn_raw(self._accept, self._listener)

    def connect(self, address: str) -> None:
        """Connect to a worker, unless that is done already. The address of a dead worker is removed.

        :raises OSError: it has failed, and may succeed later.
        """
        if address in self.peers or self._forsaken:
            return
        path = self._directory / address
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(str(path))
        except OSError as error:
            sock.close()
            if isinstance(error, ConnectionRefusedError):
                path.unlink(missing_ok=True)
            if not isinstance(error, (ConnectionRefusedError, FileNotFoundError)):
                raise
            return
        if address in self.peers:  # it has asked for a connection meanwhile
            sock.close()
            return
        peer = self.peers[address] = Peer(sock, lambda peer: self._drop(address, peer))
        for frame in (Frame(HELLO, text=self.address), *self._receiver.greeting(address)):
            peer.send(frame.encode(), needed=True)

    def _drop(self, address: str, peer: Peer) -> None:
        if self.peers.get(address) is peer:
            del self.peers[address]
            self._changed.set()
            self._receiver.left(address)
            self._forget(address)
            self._wanted.set()

    def _forget(self, address: str) -> None:
        """Tell the receiver if there is no connection with a worker any more."""
        if address and address not in self.peers and address not in self._heard.values():
            self._receiver.gone(address)

    # Hearing

    def _accept(self, listener: Any) -> None:
        """Take connections until the listener is closed; a greenlet's body."""
        while listener is self._listener:
            if self._try("accept", self._accept_one, listener):
                gevent.sleep(RETRY)

    def _accept_one(self, listener: Any) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            if listener is self._listener:
                raise
        else:
            self._heard[sock] = ""
            spawn_raw(self._hear, sock)

    def _hear(self, sock: Any) -> None:
        """Take the frames of one worker until its connection ends; a greenlet's body."""
        decoder, address = Decoder(), ""
        try:
            sock.settimeout(GREETING)
            while data := sock.recv(RECV):
                self._heard_at[address] = math.inf
                for frame in decoder.feed(data):
                    if frame.kind == HELLO:
                        address = self._heard[sock] = self._greeted(frame.text)
                        self._changed.set()
                        sock.settimeout(None)
                    elif frame.kind == PUBLISH:
                        sock.sendall(self._publish(frame).encode())
                    elif not address:
                        raise ValueError("it does not say who it is")  # noqa: TRY301
                    else:
                        self._receiver.heard(address, frame)
                # Other greenlets run between two receives, also if this worker sends without a pause.
                gevent.sleep(0)
                self._heard_at[address] = monotonic()
        except OSError:
            pass
        except Exception as error:  # noqa: BLE001 - no more is taken from this worker; the others go on
            if address not in self._told and not self._forsaken:
                self._told.add(address)
                HERE.complain("Channels: nothing more is taken from worker %s: %r", address or "(unknown)", error)
        finally:
            self._heard.pop(sock, None)
            self._heard_at.pop(address, None)
            sock.close()
            self._forget(address)

    def _publish(self, frame: Frame) -> Frame:
        """Publish a message for a program that is no worker; return the answer."""
        return Frame(ANSWER, number=NOT_TAKEN) if self._withdrawn else Frame(ANSWER, text=self._receiver.publish(frame))

    def withdraw(self) -> None:
        """Be found by nobody any more. Programs that have found this worker are sent on to another one."""
        self._withdrawn = True
        (self._directory / self.address).unlink(missing_ok=True)

    @property
    def is_asked(self) -> bool:
        """Whether somebody has connected who has not said to be a worker, and so may be a program."""
        return "" in self._heard.values()

    def is_silent(self, address: str, seconds: float) -> bool:
        """Return whether a worker has sent nothing for ``seconds``, and all that it sent before has been taken."""
        if any(_unread(sock) for sock, each in self._heard.items() if each == address):
            return False  # this process has been busy with something else
        return monotonic() - self._heard_at.get(address, 0) >= seconds

    def _greeted(self, address: str) -> str:
        if not ADDRESS.fullmatch(address) or address == self.address:
            raise ValueError(f"{address[:80]!r} is no worker's address")
        self._receiver.met(address)
        if self._try(f"connect to {address}", self.connect, address):
            self._wanted.set()
        return address

    # In a process that was forked

    def forsake(self) -> None:
        """Close all sockets: they are the parent's, and the others would believe it to live while they are open."""
        self._forsaken = True
        listener, self._listener = self._listener, None
        nothing = os.open(os.devnull, os.O_RDWR)
        for sock in (listener, *self._heard, *(peer.sock for peer in self.peers.values())):
            if sock is not None and sock.fileno() >= 0:
                os.dup2(nothing, sock.fileno(), inheritable=False)
        close(nothing)


def _unread(sock: Any) -> int:
    """Return how many bytes have been received that nobody has read yet; 0 of a socket that is closed."""
    size = array("i", [0])
    with contextlib.suppress(OSError, ValueError):
        ioctl(sock.fileno(), FIONREAD, size)
    return size[0]
