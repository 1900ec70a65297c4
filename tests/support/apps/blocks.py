"""Burns CPU for as many seconds as the query string says, without ever yielding to the loop."""

from __future__ import annotations

import time


def application(environ, start_response):
    until = time.perf_counter() + float(environ["QUERY_STRING"] or 0)
    while time.perf_counter() < until:
        pass
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done\n"]
