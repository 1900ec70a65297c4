"""Gives a number for a status."""

from __future__ import annotations


def application(environ, start_response):
    start_response(200, [("Content-Type", "text/plain")])
    return [b"number\n"]
