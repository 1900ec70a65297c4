"""permessage-deflate (RFC 7692) from the server's side: what is agreed on, and both directions of one connection."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NAME = "permessage-deflate"
#: The windows of both directions, in bits, and our compressor's memory: 32 KiB for each connection that sends, 11 KiB
#: for each that receives, and nearly the best compression.
WINDOW_BITS, MEMORY_LEVEL = 12, 5
#: The window of a client that does not let us choose.
LARGEST_WINDOW_BITS = 15
#: What ends each compressed message, and is not sent (section 7.2.1).
TAIL = b"\x00\x00\xff\xff"
#: What may stand behind a message's last block, where that says that it is the last (section 7.2.3.4).
BEHIND_THE_LAST = b"\x00" + TAIL
#: Bytes that are compressed at once, in about a millisecond, and that are inflated at once, in less.
STEP = 1 << 16
#: The values that an offer may have. zlib cannot compress with a window of 8 bits.
_WINDOWS = {
    "server_max_window_bits": [str(bits) for bits in range(9, 16)],
    "client_max_window_bits": [str(bits) for bits in range(8, 16)],
}
#: Smaller messages are sent as they are.
WORTH_IT = 32


class MessageDeflate:
    """The compression of one connection.

    :param parameters: an offer's, as :func:`agree` accepts them.
    """

    def __init__(self, parameters: dict[str, str | None]) -> None:
        #: What answers the offer: the value of Sec-WebSocket-Extensions.
        self.answer = NAME
        #: Whether each message stands for itself, in either direction.
        self._forgets = "server_no_context_takeover" in parameters
        self._client_forgets = "client_no_context_takeover" in parameters
        for name in ("server_no_context_takeover", "client_no_context_takeover"):
            if name in parameters:
                self.answer += f"; {name}"
        self._window_bits = WINDOW_BITS
        bits = parameters.get("server_max_window_bits")
        if bits is not None:
            self._window_bits = min(WINDOW_BITS, int(bits))
            self.answer += f"; server_max_window_bits={bits}"
        self._client_window_bits = LARGEST_WINDOW_BITS
        if "client_max_window_bits" in parameters:
            bits = parameters["client_max_window_bits"] or str(LARGEST_WINDOW_BITS)
            if bits != "8":  # which zlib does not have
                self._client_window_bits = min(WINDOW_BITS, int(bits))
                self.answer += f"; client_max_window_bits={self._client_window_bits}"
        self._compressor: Any = None
        self._decompressor: Any = None
        #: Whether :meth:`inflate` has more to return of what it was given, and whether that ends the message.
        self.more = False
        self._ending = False

    def have_client_forget(self) -> None:
        """Answer that each message of the client stands for itself, although its offer does not say so (7.1.1.2).

        So nothing is kept between two messages, and another process can go on with the connection.
        """
        if not self._client_forgets:
            self._client_forgets = True
            self.answer += "; client_no_context_takeover"

    # What comes

    def inflate(self, data: bytes, room: int, *, last: bool) -> bytes:
        """Return a part of what ``data`` becomes, ``STEP`` bytes at most; while there is :attr:`more`, pass ``b""``.

        :param room: bytes that the message may still become; one more is returned to show that it would be larger. -1
            for any number.
        :param last: whether ``data`` is the end of a message.
        :raises ValueError: it is no deflated data.
        """
        if self._decompressor is None:
            self._decompressor = zlib.decompressobj(-self._client_window_bits)
        decompressor = self._decompressor
        if self.more:
            data = decompressor.unconsumed_tail
        elif last:
            data += TAIL
            self._ending = True
        limit = STEP if room < 0 else min(room + 1, STEP)
        try:
            inflated: bytes = decompressor.decompress(data, limit)
        except zlib.error:
            raise ValueError("a compressed message cannot be inflated") from None
        if len(decompressor.unused_data) > len(BEHIND_THE_LAST):
            raise ValueError("something stands behind the end of a compressed message")
        self.more = len(inflated) == limit or bool(decompressor.unconsumed_tail)
        if self._ending and not self.more:
            self._ending = False
            if self._client_forgets or decompressor.eof:
                self._decompressor = None
        return inflated

    # What is sent

    def compress(self, data: bytes, pause: Callable[[], object]) -> bytes | None:
        """Return a message compressed, None if it is to be sent as it is.

        :param pause: called between two steps of the work.
        """
        if len(data) < WORTH_IT:
            return None
        if self._compressor is None or self._forgets:
            self._compressor = zlib.compressobj(wbits=-self._window_bits, memLevel=MEMORY_LEVEL)
        compressor = self._compressor
        pieces = []
        for start in range(0, len(data), STEP):
            pieces.append(compressor.compress(memoryview(data)[start : start + STEP]))
            pause()
        pieces.append(compressor.flush(zlib.Z_SYNC_FLUSH)[: -len(TAIL)])
        return b"".join(pieces)

    @property
    def begun(self) -> bool:
        """Whether the client's next message may refer to those before."""
        return self._decompressor is not None

    def restart(self) -> None:
        """Let the next message that is sent refer to none before it."""
        self._compressor = None

    def forget(self) -> None:
        """Let go of all memory, since the connection has ended."""
        self._compressor = self._decompressor = None


# What is agreed on


def agree(offers: str) -> MessageDeflate | None:
    """Return the compression that the first acceptable offer asks for (section 7.1), None if there is none.

    :param offers: the value of Sec-WebSocket-Extensions.
    """
    for offer in offers.split(","):
        name, *parts = offer.split(";")
        parameters = _parameters(parts)
        if name.strip() == NAME and parameters is not None:
            return MessageDeflate(parameters)
    return None


def _parameters(parts: Iterable[str]) -> dict[str, str | None] | None:
    """Return the parameters of an offer with their values; None if one is not to be accepted (section 7.1)."""
    found: dict[str, str | None] = {}
    for part in parts:
        name, equals, value = (word.strip() for word in part.partition("="))
        value = value.strip('"')
        if name in found or not _is_acceptable(name, value if equals else None):
            return None
        found[name] = value if equals else None
    return found


def _is_acceptable(name: str, value: str | None) -> bool:
    if name in ("server_no_context_takeover", "client_no_context_takeover"):
        return value is None
    if name == "client_max_window_bits" and value is None:
        return True
    return value in _WINDOWS.get(name, ())
