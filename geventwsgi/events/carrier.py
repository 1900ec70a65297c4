"""What a channel and its carrier ask of each other: a :class:`Feed` takes messages, a :class:`Carrier` brings them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gevent.event import Event

    from geventwsgi.events.history import Message


class Feed(Protocol):
    """A channel in this process, as its carrier sees it."""

    @property
    def name(self) -> str:
        """The channel's name, the same in all processes."""

    @property
    def key(self) -> int:
        """A number of 56 bits that stands for the channel among those of its carrier's world."""

    @property
    def keep(self) -> int:
        """How many of the last messages are kept."""

    def kept(self, position: int, room: int) -> tuple[int, Sequence[Message]]:
        """Return some of the messages that are kept (see :meth:`.History.since`)."""

    def enter(self, world: str, total: int) -> None:
        """Go on with the messages of another world (see :meth:`.History.enter`)."""

    def deliver(self, source: str, number: int, text: str, lost: int = 0, *, ticket: int = 0, total: int = 0) -> None:
        """Take in a message (see :meth:`.History.append`)."""

    def pace(self) -> None:
        """Wait, after a burst, until all subscribers that were woken have taken their messages."""


class Carrier(Protocol):
    """Brings the messages of channels to other processes, and theirs to the channels."""

    #: Whether a publisher's numbers have a gap only if a message was lost.
    counted: bool
    #: The name of the world whose tickets the messages have; "" if the messages name it (:meth:`Feed.enter`).
    world: str

    @property
    def last(self) -> int | None:
        """The last ticket that any process has drawn; 0 for the channel's own last one, None if that is not known."""

    def join(self, channel: Feed) -> Event | None:
        """Begin to deliver to the feed what others have published, from the recent past on. Does not wait.

        :returns: an event that is set once the past has been delivered; None if there is none to wait for.
        """

    def leave(self, channels: dict[str, int]) -> None:
        """Deliver no more to the feeds of these names, which are given with their keys."""
