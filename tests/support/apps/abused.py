"""What the attackers of ``tests.support.attackers`` and a good client ask for."""

from __future__ import annotations

BLOCK = b"x" * 65536


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/upload":
        while environ["wsgi.input"].read(65536):
            pass
    if environ["REQUEST_METHOD"] == "POST":
        environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/big":
        return (BLOCK for _ in range(1600))
    return [b"hello"]
