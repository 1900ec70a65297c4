"""WebSocket sessions, the same by each library: by its path one echoes, is closed, fails, or is killed.

``/left`` tells how many greenlets the worker has. What is here needs no library; the modules beside it are named after
theirs.
"""

from __future__ import annotations

import gc

import gevent
from greenlet import getcurrent, greenlet


def left():
    """Return how many greenlets there are."""
    gc.collect()
    return sum(isinstance(found, greenlet) and bool(found) for found in gc.get_objects())


def run(path, receive, send, close):
    """Do what a path says, with a session that has begun."""
    if path == "/closes":
        send(receive())
        close()
    elif path == "/fails":
        receive()
        raise RuntimeError("on purpose")
    elif path == "/killed":
        receive()
        gevent.spawn(gevent.kill, getcurrent())
        gevent.sleep(60)
    while path == "/echo" and (message := receive()) is not None:
        send(message)


def answering(application):
    """Return the application with ``/left``."""

    def answers(environ, start_response):
        if environ["PATH_INFO"] == "/left":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(left()).encode()]
        return application(environ, start_response)

    return answers


@answering
def wsgi_websocket(environ, _start_response):
    """Serve by ``environ["wsgi.websocket"]``, be it ours or gevent-websocket's."""
    websocket = environ["wsgi.websocket"]
    run(environ["PATH_INFO"], websocket.receive, websocket.send, websocket.close)
    return []
