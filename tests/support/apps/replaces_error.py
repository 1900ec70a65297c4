"""Fails after start_response and replaces its response by the ``exc_info`` argument."""

from __future__ import annotations

import sys


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Old", "1"), ("Content-Length", "1000")])
    try:
        int("no number")
    except ValueError:
        start_response("503 Service Unavailable", [("Content-Type", "text/plain"), ("X-New", "1")], sys.exc_info())
    return [b"try later\n"]
