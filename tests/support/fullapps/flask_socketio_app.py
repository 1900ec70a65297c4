"""Flask-SocketIO in gevent mode: an echo, and a broadcast to everyone."""

from __future__ import annotations

import os
import sys

from flask import Flask
from flask_socketio import SocketIO, emit

# Where gevent-websocket is installed, Engine.IO asks for `wsgi.websocket`, whatever the server is.
if not os.environ.get("GEVENT_WEBSOCKET"):
    sys.modules["geventwebsocket"] = None

app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent", cors_allowed_origins="*", max_http_buffer_size=32 << 20)


@socketio.on("echo")
def echo(data):
    emit("echo", data)


@socketio.on("say")
def say(data):
    emit("said", data, broadcast=True)
