"""systemd's end of sd_notify: a real datagram socket, and the states that came to it."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType


class NotifySocket:
    """``with NotifySocket(path) as systemd``; a name that begins with @ is in the abstract namespace."""

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        self.messages: list[list[str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(f"\0{self.path[1:]}" if self.path.startswith("@") else self.path)

    def __enter__(self) -> NotifySocket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:
            print("--- systemd was told", *self.messages, sep="\n")
        self._socket.close()
        if not self.path.startswith("@"):
            Path(self.path).unlink()

    def heard(self) -> list[list[str]]:
        """Return every message so far, as its lines."""
        with suppress(BlockingIOError):
            while True:
                self.messages.append(self._socket.recv(4096).decode().split("\n"))
        return self.messages

    @property
    def fields(self) -> list[str]:
        """All lines of all messages so far."""
        return [field for message in self.heard() for field in message]

    def wait(self, field: str, count: int = 1) -> list[str]:
        """Wait until ``field`` was told ``count`` times; return the message that it came with last."""
        wait_until(lambda: self.fields.count(field) >= count, 20, lambda: f"{field}; only {self.messages}")
        return [message for message in self.messages if field in message][count - 1]
