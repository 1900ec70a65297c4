"""A generator: start_response is called at its first step, after empty chunks."""

from __future__ import annotations


def application(environ, start_response):
    yield b""
    yield b""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"late\n"
