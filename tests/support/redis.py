"""A Redis server of a test's own, on a port that the system chose."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType


def find_redis() -> str | None:
    """Return the server's path, None if it is not installed."""
    return shutil.which("redis-server")


class Redis:
    """A running server; :meth:`stop` and :meth:`start` interrupt it, and it forgets everything then."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="gwsgi-redis-")
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]

    @property
    def url(self) -> str:
        """What ``Channel(redis=...)`` takes."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Any:
        """Return a client of its own."""
        import redis

        return redis.Redis(port=self.port)

    def __enter__(self) -> Redis:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        self._directory.cleanup()

    def start(self) -> None:
        """Start it and wait until it answers."""
        path = find_redis()
        assert path, "redis-server is not installed"
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self._directory.name}
        command = [path, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, 20, "redis-server answers")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as client:
                client.sendall(b"PING\r\n")
                return client.recv(100).startswith(b"+PONG")
        except OSError:
            return False
