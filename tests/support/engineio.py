"""A Socket.IO client over either transport, as far as tests need one (Engine.IO protocol 4, Socket.IO protocol 5)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.client import Client
from tests.support.websocket import WebSocketClient

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = "/socket.io/?EIO=4&transport="
#: What stands between packets in one body.
SEPARATOR = "\x1e"


class SocketIOClient:
    """One client; its transport is "polling" or "websocket"."""

    def __init__(self, address: tuple[str, int], transport: str) -> None:
        self._packets: list[str] = []
        self.websocket: WebSocketClient | None = None
        self._http: Client | None = None
        self._session = ""
        if transport == "websocket":
            self.websocket = WebSocketClient(address, PATH + transport)
        else:
            self._http = Client(f"http://{address[0]}:{address[1]}")
        opened = self._packet()
        assert opened[0] == "0", opened
        self._session = f"&sid={json.loads(opened[1:])['sid']}"
        self._send("40")
        self._wait(lambda packet: packet.startswith("40"))

    def __enter__(self) -> SocketIOClient:
        return self

    def __exit__(self, *_: object) -> None:
        if self.websocket is not None:
            self.websocket.sock.close()
        if self._http is not None:
            self._http.connection.close()

    def emit(self, event: str, data: Any) -> None:
        """Send an event."""
        self._send("42" + json.dumps([event, data]))

    def receive(self) -> list[Any]:
        """Return the next event, as a list of its name and its data."""
        return json.loads(self._wait(lambda packet: packet.startswith("42"))[2:])

    def _send(self, packet: str) -> None:
        if self.websocket is not None:
            self.websocket.send(packet)
        else:
            assert self._http is not None
            reply = self._http.request("POST", PATH + "polling" + self._session, packet.encode())
            assert reply.text == "OK"

    def _packet(self) -> str:
        while not self._packets:
            if self.websocket is not None:
                packet = self.websocket.receive()
                assert isinstance(packet, str), f"closed with {self.websocket.close_code}"
                self._packets.append(packet)
            else:
                assert self._http is not None
                self._packets += self._http.get(PATH + "polling" + self._session).text.split(SEPARATOR)
        return self._packets.pop(0)

    def _wait(self, wanted: Callable[[str], bool]) -> str:
        while True:
            packet = self._packet()
            if packet == "2":
                self._send("3")  # a ping, and its pong
            elif wanted(packet):
                return packet
