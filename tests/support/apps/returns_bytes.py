"""Returns bytes instead of a list of bytes: iterated, they are numbers."""

from __future__ import annotations


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return b"bytes"
