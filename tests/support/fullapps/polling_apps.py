"""A long-poll in its simplest form: ``/wait`` waits for the next ``/publish``; any other path is answered at once."""

from __future__ import annotations

from gevent.event import Event

published = Event()
counts = {"waiting": 0}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    body = b"%d" % counts["waiting"]
    if path == "/wait":
        counts["waiting"] += 1
        published.wait()
        body = b"news"
    elif path == "/publish":
        published.set()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
