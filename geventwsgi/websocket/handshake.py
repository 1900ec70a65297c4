"""The opening handshake of a WebSocket, from the server's side (RFC 6455 section 4.2)."""

from __future__ import annotations

import binascii
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = "13"
#: What every server adds to a client's key (section 1.3).
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def fault(environ: Mapping[str, str]) -> str:
    """Return what is wrong with a request for a WebSocket (section 4.2.1), "" if nothing is.

    :param environ: the request, as PEP 3333 has it.
    """
    if environ["REQUEST_METHOD"] != "GET":
        return "a WebSocket begins with GET"
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != VERSION:
        return f"Sec-WebSocket-Version is {VERSION} here"
    for name in ("Key", "Protocol", "Extensions"):
        if not environ.get(f"HTTP_SEC_WEBSOCKET_{name.upper()}", "").isascii():
            return f"Sec-WebSocket-{name} is not ASCII"
    try:
        nonce = binascii.a2b_base64(environ.get("HTTP_SEC_WEBSOCKET_KEY", ""))
    except (binascii.Error, ValueError):
        nonce = b""
    return "" if len(nonce) == 16 else "Sec-WebSocket-Key is not 16 bytes in base64"


def accept(key: str, protocol: str | None, extensions: str) -> bytes:
    """Return the response that opens the WebSocket (section 4.2.2).

    :param key: the client's Sec-WebSocket-Key.
    :param protocol: the subprotocol that is chosen; None or "" for none.
    :param extensions: the extensions that are agreed on; "" for none.
    """
    digest = hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {binascii.b2a_base64(digest, newline=False).decode()}",
    ]
    if protocol:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    if extensions:
        lines.append(f"Sec-WebSocket-Extensions: {extensions}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")
