"""Streams as many numbered lines as the query string says (default 10), one chunk each, without a Content-Length."""

from __future__ import annotations


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    for number in range(int(environ["QUERY_STRING"] or 10)):
        yield b"line %d\n" % number
