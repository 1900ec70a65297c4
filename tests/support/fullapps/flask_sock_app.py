"""Flask-Sock: an echo, a broadcast to everyone who listens, a large message, and a server that pings."""

from __future__ import annotations

import gc
import os

from flask import Flask
from flask_sock import Sock
from greenlet import greenlet

app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 25} if os.environ.get("PINGS") else {}
sock = Sock(app)
listeners = set()


@sock.route("/echo")
def echo(ws):
    while True:
        ws.send(ws.receive())


@sock.route("/broadcast")
def broadcast(ws):
    listeners.add(ws)
    ws.send("listening")
    try:
        while True:
            message = ws.receive()
            for listener in list(listeners):
                listener.send(message)
    finally:
        listeners.discard(ws)


@sock.route("/once")
def once(ws):
    ws.send(ws.receive())


@app.route("/listeners")
def count():
    return str(len(listeners))


@app.route("/greenlets")
def greenlets():
    gc.collect()
    return str(sum(isinstance(found, greenlet) and bool(found) for found in gc.get_objects()))
