"""Flask-SocketIO over several workers: rooms, broadcasts and callbacks by a channel."""

from __future__ import annotations

import os
import sys

from flask import Flask, request
from flask_socketio import SocketIO, emit, join_room

from geventwsgi.workers.socketio_manager import ChannelManager

# Where gevent-websocket is installed, Engine.IO asks for `wsgi.websocket`, whatever the server is.
sys.modules["geventwebsocket"] = None

application = Flask(__name__)
socketio = SocketIO(application, async_mode="gevent", client_manager=ChannelManager())


@socketio.on("whoami")
def whoami():
    return [os.getpid(), request.sid]


@socketio.on("join")
def join(room):
    join_room(room)
    return True


@socketio.on("say")
def say(message):
    emit("said", message["data"], to=message.get("room"), broadcast=True, include_self=True)


@application.get("/ask/<sid>")
def ask(sid):
    """Ask one client, of whichever worker, and wait for its answer."""
    return {"answer": socketio.call("question", 20, to=sid, timeout=10)}
