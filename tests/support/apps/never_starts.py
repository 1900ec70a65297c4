"""Returns a body without ever having called start_response."""

from __future__ import annotations


def application(environ, start_response):
    return [b"no status\n"]
