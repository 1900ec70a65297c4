"""Several workers' relays in one process: each with its own socket in one directory, and a channel on it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import patch

from geventwsgi.events import Channel
from geventwsgi.events.relay import Relay
from geventwsgi.mesh.frames import CAUGHT_UP, HELLO, Frame
from geventwsgi.mesh.tickets import Tickets

if TYPE_CHECKING:
    import socket
    from pathlib import Path


class Node:
    """One worker."""

    def __init__(self, directory: Path, tickets: Tickets, *, keep: int) -> None:
        self.relay = Relay(str(directory), tickets)
        self.channel = self.open("news", keep=keep)

    def open(self, name: str, *, keep: int = 100) -> Channel:
        """Join a channel."""
        channel = Channel(name, keep=keep)
        # Nothing waits in here: another greenlet that patches the same would take this patch for what was there before.
        with patch("geventwsgi.events.channel.relay", lambda: self.relay):
            channel.join()
        channel.wait()
        return channel

    @property
    def meeting(self):
        return self.relay._mesh._meeting

    @property
    def values(self) -> list[object]:
        """What it has heard."""
        return [message.data for message in self.channel.messages]

    def die(self) -> None:
        """Close all sockets at once, as a process's end does; its name stays."""
        meeting = self.meeting
        meeting._forsaken = True
        meeting._wanted.set()
        listener, meeting._listener = meeting._listener, None
        for sock in (listener, *meeting._heard):
            if sock is not None:
                sock.close()
        for peer in tuple(meeting.peers.values()):
            peer.close()


class Nodes:
    """The workers of one master."""

    def __init__(self, directory: Path, *, keep: int = 100) -> None:
        self.directory = directory
        self.tickets = Tickets()
        self.keep = keep
        self.all: list[Node] = []

    def add(self) -> Node:
        """Start one more."""
        self.all.append(Node(self.directory, self.tickets, keep=self.keep))
        return self.all[-1]

    def idle(self) -> Relay:
        """Return the relay of a worker that has no channel."""
        return Relay(str(self.directory), self.tickets)

    def stop(self) -> None:
        """End all."""
        for node in self.all:
            node.die()

    def connect(self, node: Node, address: str | None = "1.00000000") -> socket.socket:
        """Connect to a worker by a socket of one's own, and say hello by this name."""
        from gevent import socket as gevent_socket  # what must not block is gevent's

        sock = gevent_socket.socket(gevent_socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(str(self.directory / node.meeting.address))
        if address:
            sock.sendall(Frame(HELLO, text=address).encode())
            sock.sendall(Frame(CAUGHT_UP, ticket=self.tickets.last).encode())
        return sock
