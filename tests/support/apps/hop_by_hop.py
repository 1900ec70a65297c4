"""Sets a field that belongs to the connection, and so to the server."""

from __future__ import annotations


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Connection", "keep-alive")])
    return [b"hop\n"]
