"""What a worker hands over: a stream, a long-poll, WebSockets with a handler. Other paths tell the worker."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qs

from gevent import sleep

from geventwsgi.events import Channel, EventStream, LongPoll

news = Channel("news")


class Counting:
    """Counts a client's messages."""

    def __init__(self):
        self.count = 0

    def on_open(self, ws):
        ws.subscribe(news)
        ws.subscribe(Channel(os.urandom(4).hex()))  # its own, which no other worker has joined

    def on_message(self, ws, message):
        self.count += 1
        if message == "slow":
            sleep(1)
        if message == "endless":
            sleep(100)
        ws.send(f"{self.count} in {os.getpid()}")

    def on_handover(self, _ws):
        if self.count == 13:
            raise ValueError("13 brings bad luck")
        if self.count == 11:
            raise SystemExit
        if self.count == 10:
            _ws.close()
        if self.count == 12:
            return "x" * (1 << 18)
        return self.count

    def on_takeover(self, _ws, count):
        self.count = count


def big(messages, after):
    """Make an answer that no socket's buffers take."""
    return after.encode() if not messages else bytes(20 << 20)


def act(path, query, environ):
    """Do what a path asks for."""
    if path == "/drain":  # a request that runs until its worker drains
        Path(query["begun"][0]).touch()
        environ["geventwsgi.server"].draining.wait(20)
    if path == "/gate":  # a request that runs until a file is there
        Path(query["begun"][0]).touch()
        while not Path(query["gate"][0]).exists():
            sleep(0.01)
    if path == "/read":
        environ["wsgi.input"].read()
    if path == "/slow":
        sleep(0.01)
    if path == "/publish":
        for number in range(int(query["from"][0]), int(query["to"][0])):
            news.publish(number)


def application(environ, start_response):
    path, query = environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"])
    if path == "/events":
        return EventStream(environ, news)(environ, start_response)
    if path == "/poll":
        return LongPoll(environ, news, after=query.get("after", [None])[0])(environ, start_response)
    if path in ("/ws", "/opened"):  # in the latter case the handshake is answered before there is a handler
        websocket = environ["wsgi.websocket"]
        return [] if path == "/opened" and websocket.closed else websocket.handle(Counting())
    if path == "/big":
        return LongPoll(environ, news, after=query.get("after", [None])[0], body=big)(environ, start_response)
    if path == "/scheme":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.url_scheme"].encode()]
    act(path, query, environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
