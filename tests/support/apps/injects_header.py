"""Puts what the client sent, line breaks and all, into a response header."""

from __future__ import annotations

from urllib.parse import unquote


def application(environ, start_response):
    start_response("302 Found", [("Location", unquote(environ["QUERY_STRING"]))])
    return []
