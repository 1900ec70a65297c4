"""Which worker gets the messages of which channel.

A worker tells all others which channels it has joined. Publishers send it the messages of these alone. Until they know
its channels, they send it all messages. This module knows no socket and no message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from geventwsgi.mesh.tickets import Tickets

#: Channels of another worker that are remembered. A worker with more gets the messages of all channels.
MOST = 1 << 16


class Interest:
    """The channels that this worker has joined, and those that the others have."""

    def __init__(self, tickets: Tickets) -> None:
        self._tickets = tickets
        #: For each channel (by its key) the ticket after which its messages are awaited here.
        self._joined: dict[int, int] = {}
        #: For each worker the channels that it has joined; None: all channels.
        self._theirs: dict[str, set[str] | None] = {}
        #: The workers that have not named all their channels yet.
        self._new: set[str] = set()
        #: The workers that are about to end.
        self._leaving: set[str] = set()

    # This worker

    def join(self, key: int) -> None:
        """Begin to await the messages of a channel: those with tickets that nobody has drawn yet."""
        self._joined[key] = self._tickets.last

    def leave(self, key: int) -> None:
        """Await no more messages of a channel."""
        self._joined.pop(key, None)

    def awaits(self, key: int, ticket: int) -> bool:
        """Return whether a message of a channel belongs to the order of this worker's messages."""
        return self._joined.get(key, ticket) < ticket

    def first_awaited(self, start: int, stop: int) -> int:
        """Return the first ticket of a range whose message may come here; ``stop`` if there is none."""
        key, joined = self._tickets.key, self._joined
        for ticket in range(start, stop):
            found = key(ticket)
            if found is None or joined.get(found, ticket) < ticket:
                return ticket
        return stop

    # The others

    def met(self, address: str) -> None:
        """Note a worker that is about to name its channels."""
        self._theirs[address] = set()
        self._new.add(address)

    def introduced(self, address: str) -> None:
        """Note that a worker has named its channels."""
        self._new.discard(address)

    def joined(self, address: str, names: Iterable[str]) -> None:
        """Note channels that a worker has joined."""
        theirs = self._theirs.get(address)
        if theirs is not None:
            theirs.update(names)
            if len(theirs) > MOST:
                self._theirs[address] = None

    def joined_all(self, address: str) -> None:
        """Note a worker that has joined too many channels to name them."""
        self._theirs[address] = None

    def left(self, address: str, names: Iterable[str]) -> None:
        """Note channels that a worker has left."""
        theirs = self._theirs.get(address)
        if theirs is not None:
            theirs.difference_update(names)

    def gone(self, address: str) -> None:
        """Forget a worker."""
        self._theirs.pop(address, None)
        self._new.discard(address)
        self._leaving.discard(address)

    def leaving(self, address: str) -> None:
        """Note a worker that is about to end."""
        self._leaving.add(address)

    def stays(self, address: str) -> bool:
        """Return whether a worker is not known to be about to end."""
        return address not in self._leaving

    def wants(self, address: str, name: str) -> bool:
        """Return whether a worker wants the messages of a channel."""
        theirs = self._theirs.get(address)
        return theirs is None or name in theirs or address in self._new
