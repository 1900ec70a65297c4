"""Receives the messages of WebSockets; tells others how many sessions there have been."""

from __future__ import annotations

sessions = [0]


def application(environ, start_response):
    websocket = environ.get("wsgi.websocket")
    if websocket is None:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(sessions[0]).encode()]
    sessions[0] += 1
    while websocket.receive() is not None:
        pass
    return []
