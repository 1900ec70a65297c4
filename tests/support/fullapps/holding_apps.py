"""An application that holds every connection: it says its worker's pid at once, and nothing more.

``/block?SECONDS`` blocks the worker's loop instead.
"""

from __future__ import annotations

import os

import gevent
from gevent import monkey


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/block":
        monkey.get_original("time", "sleep")(float(environ["QUERY_STRING"]))
        return [b"done"]
    return chunks()


def chunks():
    yield b"%d;" % os.getpid()
    gevent.sleep(600)
