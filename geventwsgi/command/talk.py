"""Speaks with a server's observer over the control socket."""

from __future__ import annotations

import http.client
import io
import json
import socket
import time
from typing import Any
from urllib.parse import urlencode

from geventwsgi.observe.outputs.escape import clean
from geventwsgi.observer import SERVER

#: Seconds until an answer must have come. A blocked worker may take two seconds of them.
TIMEOUT = 10.0
#: The most bytes of an answer.
MOST = 2**26


class CommandError(Exception):
    """A command cannot do what it is asked; the text is one line, cause and cure."""


class Control:
    """A server's control socket.

    :param path: the socket's.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def get(self, page: str, **query: Any) -> Any:
        """Return what a page shows.

        :raises CommandError: the server cannot be reached, or does not answer.
        """
        try:
            return json.loads(self._ask("GET", page, query))
        except ValueError:
            raise self._strange(f"it answers {page} without JSON") from None

    def post(self, page: str, **query: Any) -> str:
        """Give an order; return the server's answer.

        :raises CommandError: it is refused, or cannot be given.
        """
        return self._ask("POST", page, query).strip()

    def _ask(self, method: str, page: str, query: dict[str, Any]) -> str:
        target = f"{page}?{urlencode(query)}" if query else page
        request = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        try:
            received: Any = _Received(_exchange(self.path, request.encode()))
            answer = http.client.HTTPResponse(received, method=method)
            answer.begin()
            body = answer.read().decode("utf-8", "replace")
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            raise CommandError(
                f"no server answers at {self.path}: start it with --control-socket PATH, and name the same PATH here"
            ) from None
        except PermissionError:
            raise CommandError(f"no permission to use {self.path}: run this as the server's user") from None
        except TimeoutError:
            raise CommandError(f"no answer from {self.path} within {TIMEOUT:g} s: try again") from None
        except (OSError, http.client.HTTPException) as error:
            raise self._strange(clean(str(error))[:200] or type(error).__name__) from None
        if answer.headers["Server"] != SERVER:
            raise self._strange("another program answers")
        if answer.status >= 400:
            raise CommandError(clean(body.strip())[:200] or f"the server answers {answer.status}")
        return body

    def _strange(self, cause: str) -> CommandError:
        what = f"{self.path} is no control socket of geventwsgi, or has just ended ({cause})"
        return CommandError(f"{what}: name the server's own by --control-socket PATH")


def _exchange(path: str, request: bytes) -> bytes:
    """Send a request and return what comes until the other side closes.

    :raises OSError: that fails, comes to too much, or takes longer than :data:`TIMEOUT` in all.
    """
    end = time.monotonic() + TIMEOUT
    received = bytearray()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect(path)
        sock.sendall(request)
        while data := sock.recv(65536):
            received += data
            if len(received) > MOST:
                raise OSError("its answer has no end")
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
    return bytes(received)


class _Received:
    """What :mod:`http.client` reads a response from: bytes that have come."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any, **__: Any) -> Any:
        """Return the bytes as a file."""
        return io.BytesIO(self._data)
