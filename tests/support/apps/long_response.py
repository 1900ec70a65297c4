"""Sends more bytes than its Content-Length says."""

from __future__ import annotations


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"long", b" response\n"]
