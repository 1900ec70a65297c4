"""Fails after start_response but before a byte of the body: the client gets 500, not 200."""

from __future__ import annotations


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-From-App", "yes")])
    raise RuntimeError("before the body")
