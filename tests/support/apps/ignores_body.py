"""Refuses an upload without having read a byte of it."""

from __future__ import annotations


def application(environ, start_response):
    start_response("401 Unauthorized", [("Content-Type", "text/plain"), ("WWW-Authenticate", "Basic realm=test")])
    return [b"who are you?\n"]
