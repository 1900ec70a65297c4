"""Yields text where bytes are due, after a proper chunk."""

from __future__ import annotations


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"bytes\n"
    yield "text\n"
