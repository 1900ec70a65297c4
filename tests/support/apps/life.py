"""What tests of reloads, stops and crashes ask a worker to do; the answer is its pid."""

from __future__ import annotations

import os
import time

from gevent import monkey

block = monkey.get_original("time", "sleep")
PID = str(os.getpid()).encode()
#: As much memory as /hoard has been asked to keep.
HOARD = []


def stream(environ, start_response):
    """Send a line each 50 ms, note on the log that the server drains, go on until cancelled, and note that too."""
    log, draining = environ["wsgi.errors"], environ["geventwsgi.server"].draining
    start_response("200 OK", [("Content-Type", "text/plain")])
    told = False
    try:
        while True:
            yield b"line\n"
            if draining.wait(0.05) and not told:
                told = True
                log.write("stream saw draining\n")
                if environ["QUERY_STRING"] == "obedient":
                    return
            elif told:
                time.sleep(0.05)
    finally:
        log.write("stream ended\n")


def application(environ, start_response):
    path, argument = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/stream":
        return stream(environ, start_response)
    if path == "/sleep":
        time.sleep(float(argument))
    elif path == "/block":
        block(float(argument))
    elif path == "/hoard":
        HOARD.append(b"x" * (int(argument) << 20))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(PID)))])
    return [PID]
