"""Sleeps for as many seconds as the query string says, in ``time.sleep``, which a gevent worker has patched."""

from __future__ import annotations

import time


def application(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"awake\n"]
