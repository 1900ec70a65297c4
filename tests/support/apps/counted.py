"""Answers in every way that a server knows, and tells how many objects its process holds."""

from __future__ import annotations

import gc
import sys
from tempfile import TemporaryFile

BLOCK = b"x" * 4096
#: Blocks of memory for one bucket of ``serving/loop/deadlines.py``: its set, its timer, what that calls, and numbers.
BUCKET = 6


def application(environ, start_response):
    """Run what the first part of the path names; anything else is a 404."""
    return PATHS.get(environ["PATH_INFO"], missing)(environ, start_response)


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


def missing(environ, start_response):
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


def upload(environ, start_response):
    size = 0
    while piece := environ["wsgi.input"].read(1000):
        size += len(piece)
    start_response("200 OK", [("X-Size", str(size))])
    return [b"%d" % size]


def stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return (BLOCK for _ in range(4))


def large(environ, start_response):
    start_response("200 OK", [("Content-Length", str(1 << 20))])
    return (BLOCK * 16 for _ in range(16))


def file(environ, start_response):
    opened = TemporaryFile()  # noqa: SIM115 - the server closes it
    opened.truncate(100_000)
    start_response("200 OK", [("Content-Length", "100000")])
    return environ["wsgi.file_wrapper"](opened)


def fails(environ, start_response):
    raise ZeroDivisionError("on purpose")


def breaks(environ, start_response):
    start_response("200 OK", [("Content-Length", "8192")])
    yield BLOCK
    raise ZeroDivisionError("on purpose")


def held(environ, start_response):
    """Tell how many blocks Python's allocator has given out, after what can be collected is.

    The buckets of deadlines are not counted. There is one for each tenth of a second in which requests came, until
    their time is over: as many as the requests take time, which another process may cause.
    """
    gc.collect()
    blocks = sys.getallocatedblocks()
    buckets = sum(type(thing).__name__ == "timer" for thing in gc.get_objects())
    answer = b"%d" % (blocks - BUCKET * buckets)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]


PATHS = {
    "/hello": hello,
    "/upload": upload,
    "/stream": stream,
    "/large": large,
    "/file": file,
    "/fails": fails,
    "/breaks": breaks,
    "/held": held,
}
