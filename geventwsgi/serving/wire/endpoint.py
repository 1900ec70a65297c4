"""A client's socket, as the poller and the outbox know it: they call it, and it calls them.

It stands below both, so that they need not know the stream, which implements it.
"""

from __future__ import annotations

from geventwsgi.serving.loop import deadlines


class Endpoint(deadlines.Holder):
    """What happens to a socket is told to one of these. The methods are an implementation's own."""

    __slots__ = ("watched",)

    #: Whether the poller tells of bytes. Set once it does; reset by a poller that no longer does.
    watched: bool

    def happened(self, events: int) -> None:
        """Act on events of the socket, in the hub.

        :param events: a sum of :data:`.poller.READABLE`, ``WRITABLE``, ``ENDED`` and ``LOST``.
        """
        raise NotImplementedError

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for bytes."""
        raise NotImplementedError

    def at_end(self) -> bool:
        """Return whether the next receive would find the end of the stream, or an error; takes nothing out."""
        raise NotImplementedError

    def hand_over(self) -> None:
        """Have the kernel take the response that is kept until the end of the turn."""
        raise NotImplementedError

    def drop_kept(self) -> None:
        """Forget the response that is kept: another process sends it."""
        raise NotImplementedError
