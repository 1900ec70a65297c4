"""Fails after its first chunk: the client must see a cut response."""

from __future__ import annotations


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"beginning\n"
    raise RuntimeError("in the middle of the body")
