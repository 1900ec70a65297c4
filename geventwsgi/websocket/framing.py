"""Frames of WebSockets (RFC 6455 section 5): a client's bytes to messages and control frames, and a server's frames.

Knows bytes; it never waits, receives or sends. What a client sends is checked byte by byte: text that is not UTF-8 is
refused at the first wrong byte, and a message that is too large as soon as this is known.
"""

from __future__ import annotations

import struct
from codecs import utf_8_decode
from typing import TYPE_CHECKING

from geventwsgi.websocket.masking import unmask, unmasked_frame
from geventwsgi.websocket.message import Message

if TYPE_CHECKING:
    from geventwsgi.websocket.deflate import MessageDeflate

#: Opcodes (section 5.2). Those from CLOSE on are of control frames.
CONTINUATION, TEXT, BINARY = 0, 1, 2
CLOSE, PING, PONG = 8, 9, 10
#: The bits of a frame's first byte, and of its second.
FIN, RSV1, OTHER_RSV = 0x80, 0x40, 0x30
MASKED = 0x80
#: Bytes of a control frame's payload at most (section 5.5), and of a close's reason (section 5.5.1).
LONGEST_CONTROL, LONGEST_REASON = 125, 123

#: Bytes of a message with which another reader can go on, at the most.
LONGEST_PART = 1 << 16

#: Status codes of a close (section 7.4.1).
NORMAL_CLOSURE, PROTOCOL_ERROR, NO_STATUS, INVALID_DATA, TOO_BIG, INTERNAL_ERROR = 1000, 1002, 1005, 1007, 1009, 1011
#: The codes that an endpoint may send: RFC 6455's and IANA's, then libraries' and applications'.
CODES = (range(1000, 1004), range(1007, 1015), range(3000, 5000))

# C numbers in the compiled core.
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PONG = CONTINUATION, TEXT, BINARY, CLOSE, PONG
_FIN, _RSV1, _OTHER_RSV, _MASKED, _LONGEST_CONTROL = FIN, RSV1, OTHER_RSV, MASKED, LONGEST_CONTROL
_LONGEST_PART = LONGEST_PART
#: The key of a payload that stands as it is.
_NO_MASK = bytes(4)


class FrameError(Exception):
    """A client's frame is against the rules: the WebSocket is to be closed.

    :param code: the status of the close frame.
    :param reason: its reason.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Control:
    """A control frame: close, ping or pong.

    :param opcode: CLOSE, PING or PONG.
    :param payload: 125 bytes at most; of a close, a valid status code and reason, or nothing.
    """

    __slots__ = ("opcode", "payload")

    def __init__(self, opcode: int, payload: bytes) -> None:
        self.opcode = opcode
        self.payload = payload


class FrameReader:
    """Reads what one client sends after the handshake.

    Each :meth:`read` does a limited amount of work, so that its caller may let others have a turn. Beside what was fed,
    it keeps the message that is not complete, ``max_size`` bytes at most. It is of no use after a :class:`FrameError`.

    :param max_size: bytes of a message at the most, inflated if it is compressed; 0 for any number.
    :param deflate: the compression that was agreed on; None for none.
    """

    __slots__ = (
        "_at", "_compressed", "_cut", "_data", "_deflate", "_fin", "_inflating", "_key", "_kind", "_left", "_max_size",
        "_message", "_opcode", "_size", "hungry",
    )  # fmt: skip

    def __init__(self, max_size: int = 0, deflate: MessageDeflate | None = None) -> None:
        #: Whether :meth:`read` has nothing to return before more is fed.
        self.hungry = True
        self._max_size = max_size
        self._deflate = deflate
        #: What was fed, and where in it the next byte stands that has not been read.
        self._data = b""
        self._at = 0
        #: The frame that comes in: its opcode, -1 for none; whether it is the last of its message; its payload's bytes
        #: that are still to come; the key of the next of them.
        self._opcode = -1
        self._fin = False
        self._left = 0
        self._key = b""
        #: The message that comes in: its opcode, CONTINUATION for none; whether it is compressed; its bytes until now.
        self._kind = CONTINUATION
        self._compressed = False
        self._size = 0
        #: Its parts; None if it has come in one.
        self._message: Message | None = None
        #: The first bytes of a character whose others have not come.
        self._cut = b""
        #: Whether there is more to inflate of what has come.
        self._inflating = False

    def is_empty(self) -> bool:
        """Return whether all that was fed has been read, and nothing of it is kept: another reader can go on."""
        return self._opcode < 0 and self._kind == _CONTINUATION and self._at == len(self._data)

    def must_finish(self) -> bool:
        """Return whether no other reader can go on before the message ends: it is compressed, or much has come."""
        return self._kind != _CONTINUATION and (self._compressed or self._size > _LONGEST_PART)

    def unread(self) -> bytes:
        """Return frames with which another reader can go on; this one is of no use any more. Not if it must finish.

        What has come of a message is a fragment of its own, which the rest of its frame continues.
        """
        rest = self._data[self._at :]
        if self._opcode >= 0:
            opcode = self._opcode if self._opcode >= _CLOSE else _CONTINUATION
            rest = _client_head((_FIN if self._fin else 0) | opcode, self._left, self._key) + rest
        if self._kind != _CONTINUATION:
            rest = self._part() + rest
        return rest

    def _part(self) -> bytes:
        """Return what has come of a message as a frame."""
        part = b""
        if self._message is not None:
            part = self._message.take("").encode() if self._kind == _TEXT else self._message.take(b"")
        part += self._cut
        return _client_head(self._kind, len(part), _NO_MASK) + part

    def feed(self, data: bytes) -> None:
        """Take in received bytes, when :attr:`hungry`; what is left of earlier ones is part of a head or control frame.

        :param data: not empty.
        """
        if self._at < len(self._data):
            data = self._data[self._at :] + data
        self._data = data
        self._at = 0
        self.hungry = False

    def read(self) -> str | bytes | Control | None:
        """Return the next message (``str`` for text, else ``bytes``) or control frame.

        None stands for a part of a message, with which nothing is to be done; look at :attr:`hungry` then.

        :raises FrameError: what comes next is against RFC 6455 or RFC 7692, or too large.
        """
        if self._opcode < 0 and not self._read_head():
            return None
        if self._opcode >= _CLOSE:
            return self._read_control()
        return self._read_data()

    # Heads

    def _read_head(self) -> bool:
        """Read a frame's head (section 5.2); return False if it has not come as a whole."""
        data, at = self._data, self._at
        have = len(data) - at
        if have < 2:
            self.hungry = True
            return False
        first, second = data[at], data[at + 1]
        opcode, size = first & 0x0F, second & 0x7F
        self._check(first, second, opcode)
        keys = 2 if size < 126 else 4 if size == 126 else 10
        if have < keys + 4:
            self.hungry = True
            return False
        if size >= 126:
            size = self._long_size(int.from_bytes(data[at + 2 : at + keys], "big"), size)
        if opcode < _CLOSE:
            self._begin(opcode, first, size)
        self._opcode = opcode
        self._fin = first & _FIN != 0
        self._left = size
        self._key = data[at + keys : at + keys + 4]
        self._at = at + keys + 4
        return True

    def _check(self, first: int, second: int, opcode: int) -> None:
        """Check a frame's first two bytes by themselves and by what has come before."""
        if opcode > _PONG or _BINARY < opcode < _CLOSE:
            raise FrameError(PROTOCOL_ERROR, f"unknown opcode {opcode}")
        if first & _OTHER_RSV:
            raise FrameError(PROTOCOL_ERROR, "a reserved bit is set")
        if first & _RSV1 and (self._deflate is None or opcode == _CONTINUATION or opcode >= _CLOSE):
            raise FrameError(PROTOCOL_ERROR, "RSV1 is set where no compressed message begins")
        if not second & _MASKED:
            raise FrameError(PROTOCOL_ERROR, "a client's frame is not masked")
        if opcode >= _CLOSE:
            if not first & _FIN or second & 0x7F > _LONGEST_CONTROL:
                raise FrameError(PROTOCOL_ERROR, "a control frame is fragmented or too long")
        elif (opcode == _CONTINUATION) != (self._kind != _CONTINUATION):
            raise FrameError(PROTOCOL_ERROR, "a fragment is out of place")

    def _long_size(self, size: int, form: int) -> int:
        """Return a length of 16 or 64 bits, if it is the shortest form."""
        if size < (126 if form == 126 else 1 << 16) or size >= 1 << 63:
            raise FrameError(PROTOCOL_ERROR, "a length is not in its shortest form, or has 64 bits")
        return size

    def _begin(self, opcode: int, first: int, size: int) -> None:
        """Begin a message or its next fragment."""
        if opcode != _CONTINUATION:
            self._kind = opcode
            self._compressed = first & _RSV1 != 0
            self._size = 0
        if not self._compressed and self._max_size and size > self._max_size - self._size:
            raise self._too_big()

    def _too_big(self) -> FrameError:
        return FrameError(TOO_BIG, f"a message is larger than {self._max_size} bytes")

    # Payloads

    def _read_control(self) -> Control | None:
        if len(self._data) - self._at < self._left:
            self.hungry = True
            return None
        payload = unmask(self._data, self._at, self._left, self._key)
        self._at += self._left
        opcode, self._opcode = self._opcode, -1
        if opcode == _CLOSE:
            parse_close(payload)
        return Control(opcode, payload)

    def _read_data(self) -> str | bytes | None:
        """Read what has come of a data frame's payload, or go on inflating it."""
        piece = b""
        if not self._inflating:
            count = min(self._left, len(self._data) - self._at)
            if not count and self._left:
                self.hungry = True
                return None
            piece = unmask(self._data, self._at, count, self._key)
            self._at += count
            self._left -= count
            if self._left:
                turn = count & 3
                self._key = self._key[turn:] + self._key[:turn]
        last = self._fin and not self._left
        if self._compressed:
            piece = self._inflate(piece, last)
            last = last and not self._inflating
        if not self._left and not self._inflating:
            self._opcode = -1
        self._size += len(piece)
        return self._add(piece, last)

    def _inflate(self, piece: bytes, last: bool) -> bytes:
        """Return a part of what a piece becomes; :attr:`_inflating` tells whether there is more."""
        deflate = self._deflate
        room = self._max_size - self._size if self._max_size else -1
        try:
            inflated = deflate.inflate(piece, room, last=last and not self._inflating)  # type: ignore[union-attr]
        except ValueError as error:
            raise FrameError(INVALID_DATA, str(error)) from None
        self._inflating = deflate.more  # type: ignore[union-attr]
        return inflated

    def _add(self, piece: bytes, last: bool) -> str | bytes | None:
        """Add to the message; return it if it is complete."""
        too_big = self._max_size != 0 and self._size > self._max_size
        part: str | bytes = piece
        if self._kind == _TEXT:
            part = self._decode(piece[:-1] if too_big else piece, last and not too_big)
        if too_big:
            raise self._too_big()
        if last:
            self._kind = _CONTINUATION
            message, self._message = self._message, None
            return part if message is None else message.take(part)
        if part:
            if self._message is None:
                self._message = Message()
            self._message.add(part)
        return None

    def _decode(self, data: bytes, last: bool) -> str:
        """Return the characters that are complete; :attr:`_cut` keeps the bytes of one that is not."""
        if self._cut:
            data = self._cut + data
        try:
            if last:
                self._cut = b""
                return data.decode("utf-8")
            text, used = utf_8_decode(data, "strict", False)
        except UnicodeDecodeError:
            raise FrameError(INVALID_DATA, "text is not UTF-8") from None
        self._cut = data[used:]
        # Half of a surrogate, which Python takes for a character whose last byte is still to come.
        if self._cut[:1] == b"\xed" and self._cut[1:] >= b"\xa0":
            raise FrameError(INVALID_DATA, "text is not UTF-8")
        return text


def _client_head(first: int, size: int, key: bytes) -> bytes:
    """Return the head of a client's frame, which is masked."""
    if size < 126:
        return bytes((first, _MASKED | size)) + key
    if size < 1 << 16:
        return struct.pack("!BBH", first, _MASKED | 126, size) + key
    return struct.pack("!BBQ", first, _MASKED | 127, size) + key


def frame(opcode: int, payload: bytes, first: int = FIN) -> bytes:
    """Return a server's frame, which is not masked (section 5.1).

    :param first: the bits of its first byte besides the opcode: FIN, RSV1.
    """
    return unmasked_frame(first | opcode, payload)


def parse_close(payload: bytes) -> tuple[int, str]:
    """Return the status code and the reason of a close frame (sections 5.5.1 and 7.4); 1005 and "" of an empty one.

    :raises FrameError: the code may not be sent, or the reason is not UTF-8.
    """
    if not payload:
        return NO_STATUS, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not any(code in codes for codes in CODES):
        raise FrameError(PROTOCOL_ERROR, "a close frame has no status code that may be sent")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise FrameError(INVALID_DATA, "the reason of a close frame is not UTF-8") from None


def close_payload(code: int, reason: str = "") -> bytes:
    """Return the payload of a close frame; codes that are never sent (1005, 1006, 1015) leave it empty.

    :param reason: cut after 123 bytes, between two characters.
    :raises ValueError: the code is none of a close frame.
    """
    if code in (NO_STATUS, 1006, 1015):
        return b""
    if not any(code in codes for codes in CODES):
        raise ValueError(f"a close code of {code}: pass 1000 to 1003, 1007 to 1014, or 3000 to 4999")
    text = reason.encode("utf-8", "replace")[:LONGEST_REASON].decode("utf-8", "ignore")
    return code.to_bytes(2, "big") + text.encode()
