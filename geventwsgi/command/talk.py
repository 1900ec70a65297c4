"""Speaks with a server's observer over the control socket."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlencode

from geventwsgi.observe.outputs.escape import clean

#: Seconds until an answer must have come. A blocked worker may take two seconds of them.
TIMEOUT = 10.0


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
            raise CommandError(
                f"{self.path} is no control socket of geventwsgi: it answers {page} without JSON"
            ) from None

    def post(self, page: str, **query: Any) -> str:
        """Give an order; return the server's answer.

        :raises CommandError: it is refused, or cannot be given.
        """
        return self._ask("POST", page, query).strip()

    def _ask(self, method: str, page: str, query: dict[str, Any]) -> str:
        connection = _UnixConnection(self.path)
        try:
            connection.request(method, f"{page}?{urlencode(query)}" if query else page)
            answer = connection.getresponse()
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
            raise CommandError(f"{self.path} is no control socket of geventwsgi, or has just ended: {error}") from None
        finally:
            connection.close()
        if answer.status >= 400:
            raise CommandError(clean(body.strip())[:200] or f"the server answers {answer.status}")
        return body


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
