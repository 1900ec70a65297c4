"""Sessions by Flask-SocketIO; what a session does is an event's name."""

from __future__ import annotations

import os
import sys

from flask import Flask
from flask_socketio import SocketIO, disconnect, emit

from tests.support.fullapps.session_apps import answering

# Where gevent-websocket is installed, Engine.IO asks for `wsgi.websocket`, whatever the server is.
sys.modules["geventwebsocket"] = None

app = Flask(__name__)
# A greenlet for each client sleeps from ping to ping, also when that has gone.
interval = float(os.environ["PING_INTERVAL"])
socketio = SocketIO(app, async_mode="gevent", ping_interval=interval, ping_timeout=interval)
application = answering(app)


@socketio.on("echo")
def echo(data):
    emit("echo", data)


@socketio.on("closes")
def closes(_data):
    disconnect()
