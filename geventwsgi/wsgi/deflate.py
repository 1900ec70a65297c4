"""permessage-deflate (RFC 7692) from the server's side, as an extension for wsproto.

wsproto has one of its own, which loses a compressed message that a control frame interrupts, breaks on windows that
zlib does not have, and inflates without bound. This one knows how large a message may become.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: The window and memory of our compressor: 32 KiB for each connection that sends, and nearly the best compression.
WINDOW_BITS, MEMORY_LEVEL = 12, 5
#: What ends each compressed message, and is not sent (section 7.2.1).
TAIL = b"\x00\x00\xff\xff"
#: What may stand behind a message's last block, where that says that it is the last (section 7.2.3.4).
BEHIND_THE_LAST = b"\x00" + TAIL
#: Bytes that are compressed at once, in about a millisecond.
STEP = 1 << 16
#: Bytes to be inflated at once, where the last of them became less than so many, and where they became more.
PIECE, SMALL_PIECE, MUCH = 1024, 128, 1 << 16
#: The values that an offer may have. zlib cannot compress with a window of 8 bits.
_WINDOWS = {
    "server_max_window_bits": [str(bits) for bits in range(9, 16)],
    "client_max_window_bits": [str(bits) for bits in range(8, 16)],
}
#: Smaller messages are sent as they are.
WORTH_IT = 32


class MessageDeflate(Extension):
    """The compression of one connection.

    :param max_size: bytes that a message may become; 0 for any number.
    """

    name = "permessage-deflate"

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._enabled = False
        self._window_bits = WINDOW_BITS
        #: Whether each message stands for itself, in either direction.
        self._forgets = False
        self._client_forgets = False
        self._compressor: Any = None
        self._decompressor: Any = None
        #: Of the frame that comes in: whether it is part of a compressed message.
        self._compressed = False
        #: The same of the message that is under way, and how large it is by now.
        self._message_compressed = False
        self._size = 0
        #: How many bytes are to be passed in at once, by what the last have become: up to a thousand times as many.
        self.piece = PIECE

    def enabled(self) -> bool:
        """Return whether the client's offer was accepted."""
        return self._enabled

    def offer(self) -> bool:
        """Return False: that is the client's part."""
        return False

    def accept(self, offer: str) -> str | bool | None:
        """Return the parameters that answer ``offer`` (section 7.1), None to decline it."""
        parameters = _parameters(offer.split(";")[1:])
        if self._enabled or parameters is None:
            return None
        answer: list[str] = []
        self._forgets = "server_no_context_takeover" in parameters
        self._client_forgets = "client_no_context_takeover" in parameters
        answer += [name for name in ("server_no_context_takeover", "client_no_context_takeover") if name in parameters]
        bits = parameters.get("server_max_window_bits")
        if bits is not None:
            self._window_bits = min(WINDOW_BITS, int(bits))
            answer.append(f"server_max_window_bits={bits}")
        self._enabled = True
        return "; ".join(answer) or True

    def frame_inbound_header(
        self, _proto: Any, opcode: Opcode, rsv: RsvBits, _payload_length: int
    ) -> CloseReason | RsvBits:
        """Look at a frame's first bits; return those that belong to this extension."""
        first = opcode in (Opcode.TEXT, Opcode.BINARY)
        if rsv.rsv1 and not first:
            return CloseReason.PROTOCOL_ERROR
        if first:
            self._message_compressed = rsv.rsv1
            self._size = 0
        self._compressed = self._message_compressed and not opcode.iscontrol()
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(self, _proto: Any, data: bytes) -> bytes | CloseReason:
        """Return what a piece of a frame becomes."""
        if self._compressed:
            return self._inflate(data)
        self.piece = PIECE
        return data

    def frame_inbound_complete(self, _proto: Any, fin: bool) -> bytes | CloseReason | None:
        """Return what the end of a frame adds."""
        if not (fin and self._compressed):
            return None
        data = self._inflate(TAIL)
        if self._client_forgets or (self._decompressor is not None and self._decompressor.eof):
            self._decompressor = None
        return data

    def _inflate(self, data: bytes) -> bytes | CloseReason:
        if self._decompressor is None:
            self._decompressor = zlib.decompressobj(-15)
        try:
            # One byte more than there may be shows that there are more; 0 stands for any number.
            room = self._max_size + 1 - self._size if self._max_size else 0
            inflated: bytes = self._decompressor.decompress(data, room)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._size += len(inflated)
        self.piece = SMALL_PIECE if len(inflated) > MUCH else PIECE
        if self._max_size and self._size > self._max_size:
            return CloseReason.MESSAGE_TOO_BIG
        if len(self._decompressor.unused_data) > len(BEHIND_THE_LAST):
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        return inflated

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

    def restart(self) -> None:
        """Let the next message that is sent refer to none before it."""
        self._compressor = None

    def forget(self) -> None:
        """Let go of all memory, since the connection has ended."""
        self._compressor = self._decompressor = None


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
