"""WebSocket clients that send without end what is much work: ``python -m tests.support.flood PORT KIND CLIENTS``.

They are a process of their own, so that whoever measures meanwhile does not wait for them. Each reads what it gets.
"""

from __future__ import annotations

import sys
import threading
import zlib
from contextlib import suppress

from tests.support.websocket import BINARY, PING, PONG, TEXT, WebSocketClient, frame

BOMB = 16 << 20


def _bomb() -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    data = compressor.compress(b"a" * (BOMB - 16)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return frame(TEXT, data[:-4], rsv=4)


#: By name, what is sent first, and then over and over again.
KINDS = {
    "empty fragments": lambda: (frame(TEXT, b"", fin=False), frame(0, b"", fin=False) * 3000),
    "fragments of a byte": lambda: (b"", (frame(TEXT, b"", fin=False) + frame(0, b"x", fin=False) * 3000 + frame(0))),
    "messages of a byte": lambda: (b"", frame(BINARY, b"x") * 3000),
    "pings": lambda: (b"", frame(PING) * 3000),
    "pongs": lambda: (b"", frame(PONG) * 3000),
    "bombs": lambda: (b"", _bomb()),
}


def flood(port: int, kind: str) -> None:
    """Send until the server ends it."""
    first, rest = KINDS[kind]()
    offer = ("Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover",)
    client = WebSocketClient(("127.0.0.1", port), "/", fields=offer)
    threading.Thread(target=client.rest, daemon=True).start()
    client.sock.sendall(first)
    with suppress(OSError):
        while True:
            client.sock.sendall(rest)


if __name__ == "__main__":
    port, kind, clients = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    for _ in range(clients):
        threading.Thread(target=flood, args=(port, kind), daemon=True).start()
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    sys.stdin.read()  # until whoever started it ends it
