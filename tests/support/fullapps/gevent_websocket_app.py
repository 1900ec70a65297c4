"""An application written for gevent-websocket: by its path an echo, a sender, one that fails, one that closes."""

from __future__ import annotations


def application(environ, start_response):
    websocket = environ.get("wsgi.websocket")
    if websocket is None:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"no WebSocket\n"]
    HANDLERS[websocket.path](websocket)
    return []


def app_protocol(path):
    return "chat" if path == "/echo" else None


application.app_protocol = app_protocol


def echo(websocket):
    while (message := websocket.receive()) is not None:
        websocket.send(message)


def about(websocket):
    values = (websocket.version, websocket.path, websocket.origin, websocket.protocol, websocket.closed)
    websocket.send(repr(values))


def fails(websocket):
    websocket.receive()
    raise RuntimeError("on purpose")


def closes(websocket):
    websocket.receive()
    websocket.close(4001, "enough")


HANDLERS = {"/echo": echo, "/about": about, "/fails": fails, "/closes": closes}
