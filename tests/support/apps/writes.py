"""Sends its body by the ``write`` callable, then a last piece as the iterable."""

from __future__ import annotations


def application(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"one ")
    write(b"two ")
    return [b"three\n"]
