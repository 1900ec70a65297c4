"""Sends a tick every 50 ms for ever; only a client that leaves, or the server's end, ends it.

``closed`` in the error log tells that the generator was closed.
"""

from __future__ import annotations

import time


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    try:
        while True:
            yield b"data: tick\n\n"
            time.sleep(0.05)
    finally:
        print("closed", file=environ["wsgi.errors"], flush=True)
