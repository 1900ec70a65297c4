"""Turns any failure to read the body into an exception of its own, as frameworks do."""

from __future__ import annotations


class UnreadablePostError(Exception):
    pass


def application(environ, start_response):
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        raise UnreadablePostError from error
    start_response("204 No Content", [])
    return []
