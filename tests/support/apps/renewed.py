"""An application whose code a test changes while clients wait: each new text of it has another VERSION."""

from __future__ import annotations

import os
from urllib.parse import parse_qs

from geventwsgi.events import Channel, EventStream, LongPoll
from geventwsgi.events.waiting import as_json

VERSION = 0
grown = []


class Counting:
    """Counts a client's messages, and says so."""

    def __init__(self, channel=None):
        self.channel, self.count = channel, 0

    def on_open(self, ws):
        ws.subscribe(self.channel)
        ws.send("0")

    def on_message(self, ws, _message):
        self.count += 1
        ws.send(f"counted {self.count} {VERSION}")

    def on_handover(self, _ws):
        return self.count

    def on_takeover(self, _ws, count):
        self.count = count


def versioned(messages, after):
    return b"%d %b" % (VERSION, as_json(messages, after))


def application(environ, start_response):
    path, query = environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"])
    channel = Channel(query.get("channel", ["none"])[0])
    if path == "/events":
        return EventStream(environ, channel)(environ, start_response)
    if path == "/poll":
        after = query.get("after", [None])[0]
        return LongPoll(environ, channel, after=after, body=versioned)(environ, start_response)
    if path == "/ws":
        return environ["wsgi.websocket"].handle(Counting(channel))
    if path == "/publish":
        channel.publish(int(query["number"][0]))
    if path == "/fill":
        for _ in range(int(query["messages"][0])):
            channel.publish(-1)
    if path == "/grow":
        grown.append(os.urandom(1 << 20) * int(query["mib"][0]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
