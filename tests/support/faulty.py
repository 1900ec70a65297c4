"""A server that is wrong on purpose: it ends a response in order although the application failed in the middle of it.

No peer at hand does that any more; some did. Everything else about it is no better than it has to be for the check.
"""

from __future__ import annotations

import socketserver
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        method, target, _ = self.rfile.readline().decode("latin-1").split()
        while self.rfile.readline().strip():
            pass
        path, _, query = target.partition("?")
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "wsgi.url_scheme": "http"}
        self._send(self.server.app(environ, self._start_response))

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        lines = [f"{name}: {value}" for name, value in headers if name != "Content-Length"]
        head = [f"HTTP/1.1 {status}", *lines, "Transfer-Encoding: chunked", "Connection: close", "", ""]
        self.wfile.write("\r\n".join(head).encode("latin-1"))

    def _send(self, result: Any) -> None:
        try:
            for piece in result:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        finally:
            self.wfile.write(b"0\r\n\r\n")  # the fault: the client believes that this was all


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the failure is the test's."""


def serve(app: Any, listener: socket.socket) -> None:
    """Serve until the process ends."""
    server = _Server(listener.getsockname(), _Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.app = app
    server.serve_forever()
