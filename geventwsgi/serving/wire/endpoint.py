"""The abstract class of a client's socket. The poller and the outbox call its methods; :class:`.Stream` has them.

It stands below all three, so that the poller and the outbox do not import the stream.
"""

from __future__ import annotations

from geventwsgi.serving.loop import deadlines


class Endpoint(deadlines.Holder):
    """A client's socket, as the poller and the outbox see it."""

    __slots__ = ("watched",)

    #: Whether the poller reports the socket's bytes. Set when it begins to; reset by a poller that stops.
    watched: bool

    def happened(self, events: int) -> None:
        """Act on events of the socket, in the hub.

        :param events: a sum of :data:`.poller.READABLE`, ``WRITABLE``, ``ENDED`` and ``LOST``.
        """
        raise NotImplementedError

    @property
    def awaited(self) -> bool:
        """Whether a greenlet or a parked connection waits for bytes."""
        raise NotImplementedError

    def at_end(self) -> bool:
        """Return whether the next receive would find the end of the stream, or an error; takes nothing out."""
        raise NotImplementedError

    def hand_over(self) -> None:
        """Pass the kept response to the kernel."""
        raise NotImplementedError

    def drop_kept(self) -> None:
        """Drop the kept response in a forked process: the parent sends it."""
        raise NotImplementedError
