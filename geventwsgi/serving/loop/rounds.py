"""What happens around the work of one turn of the loop.

The runners and the alarm clock let several greenlets work in one turn. They begin a round before and end it afterwards,
without knowing its purpose.
"""

from __future__ import annotations


class Round:
    """Does nothing around a turn; an :class:`.Outbox` keeps small responses until its end."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        #: Whether a round is under way.
        self.open = False

    def begin(self) -> None:
        """Begin a turn in which several requests may be answered; :meth:`end` follows, whatever happens."""

    def end(self) -> None:
        """End the turn."""
