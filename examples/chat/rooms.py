"""A chat with rooms by Flask-SocketIO, with its default transports (polling first, then a WebSocket), on four workers.

    pip install flask-socketio
    gwsgi -w 4 --affinity query:sid rooms:app

A session of Socket.IO is kept in the memory of the worker where it has begun. `--affinity query:sid` has all its
requests served there. The ChannelManager brings what is said to the clients of all workers, without Redis.
"""

import os

from flask import Flask
from flask_socketio import SocketIO, emit, join_room

from geventwsgi.workers.socketio_manager import ChannelManager

PAGE = """<!doctype html>
<title>Rooms</title>
<form><input id="room" value="lobby"> <input id="text" autofocus> <button>Say</button></form>
<ul id="said"></ul>
<script src="https://cdn.socket.io/4.7.5/socket.io.min.js"></script>
<script>
  const socket = io(), field = (name) => document.getElementById(name);
  const join = () => socket.emit("join", field("room").value);
  socket.on("connect", join);
  socket.on("said", ({text, worker}) => {
    field("said").appendChild(document.createElement("li")).textContent = `${text} (said in worker ${worker})`;
  });
  field("room").onchange = join;
  document.forms[0].onsubmit = (event) => {
    event.preventDefault();
    socket.emit("say", {room: field("room").value, text: field("text").value});
    field("text").value = "";
  };
</script>
"""

app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent", client_manager=ChannelManager())


@app.get("/")
def page():
    return PAGE


@socketio.on("join")
def join(room):
    join_room(room)
    return os.getpid()


@socketio.on("say")
def say(message):
    emit("said", {"text": message["text"], "worker": os.getpid()}, to=message["room"])
