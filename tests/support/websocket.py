"""A WebSocket client that says what it is told to, byte by byte if need be; frames by wsproto."""

from __future__ import annotations

import base64
import os
import socket
import struct
from typing import Any

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import generate_accept_token


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bytes | None = b"\1\2\3\4", rsv: int = 0
) -> bytes:
    """Return one frame as a client sends it (RFC 6455 section 5.2); unmasked if ``mask`` is None."""
    head = bytes([fin << 7 | rsv << 4 | opcode])
    masked, size = 0 if mask is None else 128, len(payload)
    if size < 126:
        head += bytes([masked | size])
    elif size < 1 << 16:
        head += bytes([masked | 126]) + struct.pack("!H", size)
    else:
        head += bytes([masked | 127]) + struct.pack("!Q", size)
    if mask is None:
        return head + payload
    key = (mask * (size // 4 + 1))[:size]
    content = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + mask + content.to_bytes(size, "big")


TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class WebSocketClient:
    """One WebSocket.

    :param early: bytes sent in the same segment as the handshake.
    :param fields: further header lines.
    :param deflate: offer permessage-deflate.
    """

    def __init__(
        self,
        address: tuple[str, int],
        path: str = "/",
        *,
        early: bytes = b"",
        fields: tuple[str, ...] = (),
        deflate: bool = False,
        tls: Any = None,
        timeout: float = 30,
    ) -> None:
        sock = socket.create_connection(address, timeout)
        self.sock = sock if tls is None else tls.wrap_socket(sock, server_hostname="localhost")
        self.key = base64.b64encode(os.urandom(16))
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {address[0]}:{address[1]}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {self.key.decode()}",
            *(["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"] if deflate else []),
            *fields,
        ]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode() + early)
        self.head, rest = self._read_head()
        extension = PerMessageDeflate()
        self.deflates = b"permessage-deflate" in self.head
        if self.deflates:
            line = next(line for line in self.head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-ext"))
            extension.finalize(line.partition(b":")[2].strip().decode())
        self._frames = Connection(ConnectionType.CLIENT, [extension] if self.deflates else [])
        self._frames.receive_data(rest)
        self._pieces: list[Any] = []
        #: The status of the close frame that came; None before, 1006 if the connection ended without one.
        self.close_code: int | None = None

    def _read_head(self) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.sock.recv(65536)
            assert piece, f"closed after {data!r}"
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        return head, rest

    def __enter__(self) -> WebSocketClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    @property
    def accepted(self) -> bool:
        """Whether the server's handshake is right (RFC 6455 section 4.2.2)."""
        return self.head.startswith(b"HTTP/1.1 101 ") and generate_accept_token(self.key) in self.head

    def send(self, message: str | bytes) -> None:
        """Send a message."""
        event = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
        self.sock.sendall(self._frames.send(event))

    def receive(self) -> str | bytes | None:
        """Return the next message; None when the server has closed: see :attr:`close_code`."""
        while self.close_code is None:
            for event in self._frames.events():
                if isinstance(event, CloseConnection):
                    self.close_code = int(event.code)
                    if self._frames.state is ConnectionState.REMOTE_CLOSING:
                        self.sock.sendall(self._frames.send(event.response()))
                    return None
                if isinstance(event, Ping):
                    self.sock.sendall(self._frames.send(event.response()))
                if isinstance(event, (TextMessage, BytesMessage)):
                    self._pieces.append(event.data)
                    if event.message_finished:
                        pieces, self._pieces = self._pieces, []
                        message = pieces[0][:0].join(pieces)
                        return message if isinstance(message, str) else bytes(message)
            data = self._recv()
            if not data:
                self.close_code = 1006
                return None
            self._frames.receive_data(data)
        return None

    def _recv(self) -> bytes:
        try:
            return self.sock.recv(65536)
        except ConnectionResetError:
            return b""

    def rest(self) -> bytes:
        """Return all bytes that come until the server ends the connection."""
        data = b""
        while piece := self._recv():
            data += piece
        return data

    def close(self, code: int = 1000) -> None:
        """Begin the closing handshake, and wait for the server's part."""
        self.sock.sendall(self._frames.send(CloseConnection(code)))
        while self.receive() is not None:
            pass
