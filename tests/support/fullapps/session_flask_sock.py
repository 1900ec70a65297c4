"""Sessions by Flask-Sock, which pings."""

from __future__ import annotations

from flask import Flask
from flask_sock import Sock

from tests.support.fullapps.session_apps import answering, run

app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 25}
sock = Sock(app)


@sock.route("/<path>")
def session(websocket, path):
    run(f"/{path}", websocket.receive, websocket.send, websocket.close)


application = answering(app)
