"""A plain HTTP client over TCP, TLS and unix sockets, so that one test can speak to a server on each of them.

It is the standard library's; it knows nothing of the server.
"""

from __future__ import annotations

import http.client
import http.cookies
import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

TIMEOUT = 30


class UnixConnection(http.client.HTTPConnection):
    """``HTTPConnection`` to a unix socket's path."""

    def __init__(self, path: str, timeout: float = TIMEOUT) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the path instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Reply:
    """A response read whole."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def text(self) -> str:
        """The content as UTF-8."""
        return self.content.decode()

    def json(self) -> Any:
        """The content parsed."""
        return json.loads(self.content)


class Client:
    """A browser's worth of client: one keep-alive connection, and the cookies that it was given.

    :param url: ``http://host:port``, ``https://host:port`` or ``unix:/path``, as the server's log prints it.
    """

    def __init__(self, url: str, context: ssl.SSLContext | None = None, timeout: float = TIMEOUT) -> None:
        self.url = url
        self.timeout = timeout
        self.cookies: dict[str, str] = {}
        self._context = context
        self.connection = self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        if self.url.startswith("unix:"):
            return UnixConnection(self.url.removeprefix("unix:"), self.timeout)
        parts = urlsplit(self.url)
        assert parts.hostname
        if parts.scheme == "https":
            return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=self.timeout, context=self._context)
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=self.timeout)

    @property
    def scheme(self) -> str:
        """What the application must see as ``wsgi.url_scheme``."""
        return "https" if self.url.startswith("https:") else "http"

    @property
    def host(self) -> str:
        """The Host field that is sent."""
        return "localhost" if self.url.startswith("unix:") else urlsplit(self.url).netloc

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        """Send a request (an iterable body without Content-Length leaves chunked); return the response unread."""
        fields = dict(headers or {})
        if self.cookies:
            fields["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        chunked = not (body is None or isinstance(body, bytes) or "Content-Length" in fields)
        if chunked:
            fields["Transfer-Encoding"] = "chunked"
        self.connection.request(method, path, body, fields, encode_chunked=chunked)
        response = self.connection.getresponse()
        for line in response.headers.get_all("Set-Cookie") or ():
            for name, morsel in http.cookies.SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return response

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a request and read its response whole."""
        response = self.send(method, path, body, headers)
        return Reply(response.status, response.headers, response.read())

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        """GET."""
        return self.request("GET", path, None, headers)

    def post_form(self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Reply:
        """POST a form, urlencoded."""
        body = urlencode(fields).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", path, body, {**kind, **(headers or {})})

    def post_files(
        self,
        path: str,
        fields: Mapping[str, str],
        files: Mapping[str, bytes],
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """POST a form with files, multipart/form-data (RFC 7578)."""
        boundary = "----0123456789abcdef"
        parts = [
            f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()
        ]
        parts += [
            f'Content-Disposition: form-data; name="{name}"; filename="{name}.bin"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode()
            + content
            for name, content in files.items()
        ]
        body = (
            b"".join(f"--{boundary}\r\n".encode() + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()
        )
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self.request("POST", path, body, {**kind, **(headers or {})})
