"""One subscription to several channels, with one position that names the place in each of them."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from geventwsgi.events.history import NOTHING, SEQUENCE_BITS, parse_cursor
from geventwsgi.events.subscription import READING, Reading, Subscription

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from geventwsgi.events.channel import Channel
    from geventwsgi.events.history import Message
    from geventwsgi.events.topic import Topic
    from geventwsgi.wsgi.named import Packed

#: The most channels of one subscription.
MOST_CHANNELS = 8
#: The most characters of a position.
PLACES_SIZE = 255
#: Between two places, between the numbers of one, and within a ticket of Redis. All characters may stand in a URL.
_BETWEEN, _WITHIN, _SEQUENCE = "~", ".", "-"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_PLACE = re.compile(r"([0-9A-Za-z]{1,11})\.(?:([0-9A-Za-z]{1,14})-)?([0-9A-Za-z]{1,11})\.([0-9A-Za-z]{1,11})")


def subscribe(
    channels: Iterable[Channel], *, after: str | None = None, environ: Mapping[str, Any] | None = None
) -> Several:
    """Return one subscription to several channels. Messages of each come in order; those of different ones nearly so.

    :param channels: at most 8, which are all different.
    :param after: the id of a message, or the ``position`` of a subscription, of the same channels in the same order; as
        for :meth:`.Channel.subscribe`.
    :param environ: the request's environ: the subscription then ends when the server drains or the client leaves.
    :raises ValueError: there are no channels or too many, one comes twice, or one is closed.
    """
    return Several(tuple(channels), after, environ)


class Several(Reading):
    """One subscriber's places in several channels. It ends when all of them have ended."""

    __slots__ = ("_in_one_order", "_parts")

    def __init__(
        self, channels: Sequence[Channel], after: str | None, environ: Mapping[str, Any] | None = None
    ) -> None:
        if not 0 < len(channels) <= MOST_CHANNELS:
            raise ValueError(f"one subscription has 1 to {MOST_CHANNELS} channels, not {len(channels)}")
        if len({(channel.name, channel.redis) for channel in channels}) < len(channels):
            raise ValueError(f"a channel comes twice: {[channel.name for channel in channels]}")
        super().__init__(environ)
        #: Whether the tickets of all channels are from one counter or one clock.
        self._in_one_order = len({channel.redis for channel in channels}) == 1
        self._parts: list[Part] = []
        try:
            for channel, place in zip(channels, unpack(after, len(channels)), strict=True):
                self._parts.append(channel.admit(partial(Part, owner=channel, after=place, whole=self)))
        except BaseException:
            self.close()
            raise

    @property
    def position(self) -> str:
        """See :attr:`.Reading.position`."""
        return pack([part.position for part in self._parts])

    def pack(self) -> Packed | None:
        """See :meth:`.Reading.pack`. A place that is too long cannot be named."""
        parts, place = [part.pack() for part in self._parts], self.position
        if self.closed or place == NOTHING or not all(parts):
            return None
        return READING, {
            "channels": [channel for part in parts if part for channel in part[1]["channels"]],
            "after": place,
        }

    @property
    def ended(self) -> bool:
        """See :attr:`.Inbox.ended`."""
        return self.over or all(part.closed for part in self._parts)

    @property
    def over(self) -> bool:
        """Whether it ends as a whole: it is closed, the server drains, or the client has gone."""
        return super().ended

    def close(self) -> None:
        """End it. Messages that have come can still be taken."""
        for part in self._parts:
            part.close()
        super().close()

    def _take(self, room: int | None) -> list[Message]:
        """See :meth:`.Reading._take`."""
        places = [part.position for part in self._parts]
        taken = [(message, at) for at, part in enumerate(self._parts) for message in part.portion_now(room)]
        if self._in_one_order:
            taken.sort(key=lambda pair: pair[0].ticket)
        messages = []
        for message, at in taken:
            places[at] = message.id
            messages.append(message.with_id(pack(places)))
        return messages


class Part(Subscription):
    """One channel of several."""

    __slots__ = ("_whole",)

    def __init__(self, channel: Topic, owner: object, after: str | None, whole: Several) -> None:
        super().__init__(channel, owner, after)
        self._whole = whole

    @property
    def ended(self) -> bool:
        """See :attr:`.Inbox.ended`."""
        return super().ended or self._whole.over

    def wake(self, _event: object = None) -> None:
        """Wake whoever waits for all."""
        self._whole.wake()

    def portion_now(self, room: int | None) -> list[Message]:
        """Return messages that have come (see :meth:`.Reading._take`)."""
        return self._take(room)


# Places as one text


def pack(places: list[str]) -> str:
    """Return the text that names a place in each channel; the one for the beginning of all if it would be too long."""
    text = _BETWEEN.join(map(_shorten, places))
    return text if len(text) <= PLACES_SIZE else NOTHING


def unpack(text: str | None, count: int) -> list[str | None]:
    """Return the places that a text names, one for each channel; a client may send any text."""
    if text is None:
        return [None] * count
    places = text.split(_BETWEEN, MOST_CHANNELS) if len(text) <= PLACES_SIZE else []
    return [*map(_lengthen, places)] if len(places) == count else [""] * count


def _shorten(place: str) -> str:
    cursor = parse_cursor(place)
    if cursor is None:
        return NOTHING
    milliseconds, ticket = divmod(cursor.ticket, 1 << SEQUENCE_BITS)
    first = _digits(milliseconds) + _SEQUENCE if milliseconds else ""
    return _WITHIN.join((_digits(int(cursor.world, 16)), first + _digits(ticket), _digits(cursor.total)))


def _lengthen(text: str) -> str:
    found = _PLACE.fullmatch(text)
    if found is None:
        return NOTHING
    world, milliseconds, ticket, total = (_number(part or "") for part in found.groups())
    return f"{world:016x}.{(milliseconds << SEQUENCE_BITS) + ticket}.{total}"


def _digits(number: int) -> str:
    text = ""
    while number or not text:
        number, digit = divmod(number, len(_DIGITS))
        text = _DIGITS[digit] + text
    return text


def _number(text: str) -> int:
    number = 0
    for digit in text:
        number = number * len(_DIGITS) + _VALUES[digit]
    return number
