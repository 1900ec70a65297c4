"""Greets, and says in X-Pid which process did."""

from __future__ import annotations

import os


def application(environ, start_response):
    body = b"Hello, world!\n"
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("X-Pid", str(os.getpid()))]
    start_response("200 OK", headers)
    return [body]
