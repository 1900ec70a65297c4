"""What is published on a channel, as text frames for WebSockets (RFC 6455 section 5.6): made once, sent to many.

How a channel keeps its messages, and where a subscriber stands, is the channel's own business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from geventwsgi.websocket.framing import TEXT, frame

if TYPE_CHECKING:
    from collections.abc import Callable


class Message(Protocol):
    """A message of a channel."""

    #: Its value as JSON text.
    text: str
    #: The number of messages that were lost to this subscriber just before it.
    missed: int
    #: The message that this is one subscriber's copy of; None if all share it.
    original: Any

    def as_frame(self) -> bytes:
        """Return its text as a frame, which is made once for all subscribers."""


class Reading(Protocol):
    """A subscription, as a WebSocket uses it; all but :meth:`begin` is called in the hub."""

    @property
    def waits(self) -> bool:
        """Whether something is to be woken, and so has taken all that had come."""

    @property
    def ended(self) -> bool:
        """Whether no more messages come."""

    def begin(self) -> None:
        """Find the place in the channel; may wait."""

    def next_or_call(self, waiter: Any) -> Message | None:
        """Return the next message, if it is the only one, and then :meth:`call`; None otherwise."""

    def portion(self, timeout: float) -> list[Any]:
        """Return the messages that have come, as many as a socket takes at once."""

    def call(self, waiter: Any) -> None:
        """Have ``waiter.wake()`` called at the next message."""

    def pack(self) -> Any:
        """Return what makes a subscription that goes on from here in another process; None if it cannot."""

    def close(self) -> None:
        """End it."""


def tell_missed(count: int) -> str | None:
    """Return the text frame that tells a client that it has missed messages of a channel: ``{"missed": 3}``."""
    return f'{{"missed":{count}}}'


def published(message: Message) -> str:
    """Return the text frame's content for a message of a channel: the published value as JSON."""
    return message.text


class Feed:
    """What one WebSocket is sent of a channel.

    :param source: the channel, or the subscription itself.
    :param encode: returns a message's text.
    :param missed: returns the text that tells how many messages were missed, None for none.
    """

    __slots__ = ("_encode", "_later", "_missed", "over", "reading", "source")

    def __init__(
        self, source: Any, reading: Reading, encode: Callable[[Any], str], missed: Callable[[int], str | None]
    ) -> None:
        self.source = source
        self.reading = reading
        self._encode = encode
        self._missed = missed
        #: A message that follows the text that tells how many were missed before it.
        self._later: Message | None = None
        #: Whether nothing more follows.
        self.over = False

    def is_of(self, source: Any) -> bool:
        """Return whether it is of this channel, or of another object of the same name."""
        mine = self.source
        if mine is source:
            return True
        name = getattr(mine, "name", None)
        return name is not None and name == getattr(source, "name", None) and mine.redis == source.redis

    def take(self, outlet: Any) -> bytes | None:
        """Return the next text frames; None if there are none now, and then ``outlet.wake`` is called when there are.

        Frames that all subscribers get alike are made once and shared.
        """
        later, self._later = self._later, None
        if later is not None:
            return text_frame(later, self._encode)
        reading = self.reading
        if reading.waits:
            return None
        only = reading.next_or_call(outlet)
        if only is not None:
            return text_frame(only, self._encode)
        messages = reading.portion(0)
        if messages:
            return self._frames(messages)
        if reading.ended:
            self.over = True
        else:
            reading.call(outlet)
        return None

    def pack(self, name_of: Callable[[Any], str | None]) -> dict[str, Any] | None:
        """Return what another process needs to go on from here, as values for JSON; None if it cannot.

        :param name_of: returns the name of a function, None if it has none.
        """
        names = name_of(self._encode), name_of(self._missed)
        reading = None if self._later is not None or self.over or None in names else self.reading.pack()
        return None if reading is None else {"reading": reading, "encode": names[0], "missed": names[1]}

    def _frames(self, messages: list[Any]) -> bytes:
        """Return a portion; but a large message as it is kept for all."""
        message = messages[0]
        if len(messages) > 1:
            return _joined.frames(messages, self._encode, self._missed)
        text = self._missed(message.missed) if message.missed else None
        if text is None:
            return text_frame(message, self._encode)
        self._later = message
        return frame(TEXT, text.encode())


class Joined:
    """The last portion that was joined: subscribers that are equally far behind take the same one after each other."""

    __slots__ = ("_encode", "_frames", "_messages", "_missed")

    def __init__(self) -> None:
        self._messages: list[Any] = []
        self._encode: Any = None
        self._missed: Any = None
        self._frames = b""

    def frames(self, messages: list[Any], encode: Any, missed: Any) -> bytes:
        """Return the frames of several messages."""
        if messages != self._messages or encode is not self._encode or missed is not self._missed:
            frames = []
            for message in messages:
                text = missed(message.missed) if message.missed else None
                if text is not None:
                    frames.append(frame(TEXT, text.encode()))
                frames.append(text_frame(message, encode))
            self._frames = b"".join(frames)
            self._messages, self._encode, self._missed = messages, encode, missed
        return self._frames


class LastFrame:
    """The frame that was made last by a function of an application's."""

    __slots__ = ("_encode", "_frame", "_message")

    def __init__(self) -> None:
        self._message: Any = None
        self._encode: Any = None
        self._frame = b""

    def of(self, message: Any, encode: Any) -> bytes:
        """Return a message's frame."""
        if message is not self._message or encode is not self._encode:
            self._frame = frame(TEXT, encode(message).encode())
            self._message, self._encode = message, encode
        return self._frame


_joined, _last = Joined(), LastFrame()


def text_frame(message: Any, encode: Any) -> bytes:
    """Return a message of a channel as a text frame, which is made once for all that send it."""
    if encode is published:
        return message.as_frame()  # type: ignore[no-any-return]
    return _last.of(message.original or message, encode)
