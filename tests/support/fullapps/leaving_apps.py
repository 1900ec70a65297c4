"""An application whose clients leave: it notes when each request was told, or ended.

Paths: ``/poll`` and ``/notified`` wait, ``/stream`` waits after its first chunk, ``/upload`` reads its body, ``/told``
answers with what was noted: for each of them how many requests came, and when departures were noticed (by
``time.monotonic()``).
"""

from __future__ import annotations

import json
import time

import gevent

from geventwsgi.errors import ClientDisconnected

came = {}
told = {}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/told":
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"came": came, "told": told}).encode()]
    came[path] = came.get(path, 0) + 1
    return WAITS[path](environ, start_response)


def note(path):
    told.setdefault(path, []).append(time.monotonic())


def poll(environ, start_response):
    """Be cancelled by the setting."""
    try:
        gevent.sleep(60)
    except ClientDisconnected:
        note("/poll")
        raise
    return []


def notified(environ, start_response):
    """Wait for the event, and answer nobody."""
    environ["geventwsgi.client"].cancel_on_gone(cancel=False)
    if environ["geventwsgi.client"].gone.wait(60):
        note("/notified")
    start_response("200 OK", [])
    return [b"too late"]


def stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return chunks()


def chunks():
    try:
        yield b"first"
        gevent.sleep(60)
    finally:
        note("/stream")


def upload(environ, start_response):
    try:
        environ["wsgi.input"].read()
    finally:
        note("/upload")
    return []


WAITS = {"/poll": poll, "/notified": notified, "/stream": stream, "/upload": upload}
