"""WebSockets that are left to handlers, by their path: an echo, a room, what forks, what fails, what is left behind."""

from __future__ import annotations

import os
import threading
from contextvars import ContextVar

from geventwsgi.events import Channel

room = Channel("room", keep=20_000)
left = threading.local()
variable = ContextVar("variable", default="nothing")


class Echo:
    def on_message(self, ws, message):
        ws.send(message)


class Room:
    """What a client says, all get; "?" asks for the worker, a number for as many messages."""

    def on_open(self, ws):
        ws.subscribe(room, after=ws.data, encode=with_place)

    def on_message(self, ws, message):
        if message == "?":
            ws.send(f"worker {os.getpid()}")
        elif message.isdigit():
            for number in range(int(message)):
                room.publish(number)
        else:
            room.publish(message)


def with_place(message):
    """Return a message with its place."""
    return f"{message.id} {message.text}"


class Fails:
    def on_message(self, ws, message):
        raise RuntimeError("on purpose")


class Forks:
    """Forks, and lets the child return as well."""

    def on_message(self, ws, message):
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        ws.send(f"parent of {pid}" if pid else "child")

    def on_close(self, ws, code, reason):
        print("closed in", os.getpid(), flush=True)


class Leaves:
    """Leaves marks, and says what it finds of others."""

    def on_message(self, ws, message):
        found = (getattr(left, "value", "nothing"), variable.get())
        left.value = message
        variable.set(message)
        ws.send(" ".join(found))


HANDLERS = {"/echo": Echo(), "/room": Room(), "/fails": Fails(), "/forks": Forks(), "/leaves": Leaves()}


def application(environ, start_response):
    websocket = environ.get("wsgi.websocket")
    if websocket is None:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"no WebSocket\n"]
    return websocket.handle(HANDLERS[websocket.path], data=environ["QUERY_STRING"] or None)
