"""Streams 50 lines in a burst, then holds up the whole worker, loop and all, until the file at PATH_INFO exists."""

from __future__ import annotations

import time
from pathlib import Path

from gevent.monkey import get_original

BURST = b"".join(b"line %d\n" % number for number in range(50))
#: Seconds for which it waits for the file.
LIMIT = 20


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield from BURST.splitlines(keepends=True)
    sleep, until = get_original("time", "sleep"), time.monotonic() + LIMIT
    while not Path(environ["PATH_INFO"]).exists():
        if time.monotonic() > until:
            yield b"the file never came\n"
            return
        sleep(0.01)
    yield b"end\n"
