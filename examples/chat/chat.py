"""A chat in one page, by long-poll, by server-sent events or by WebSocket; on any number of workers.

    gwsgi --config gwsgi.conf.py chat:app

What somebody says is published on a channel, which brings it to every worker. The client remembers the id of the last
message that it saw and gives it when it connects again, so that nothing is lost between two polls or across a reload.

With CHAT_REDIS=redis://localhost:6379/0 in the environment the channel goes through Redis: then it reaches all machines
that use the same one (pip install geventwsgi[redis]).
"""

import json
import os
from pathlib import Path
from urllib.parse import parse_qs

from geventwsgi.events import Channel, Event, EventStream, LongPoll

PAGE = Path(__file__).with_name("page.html").read_bytes()
#: Seconds that a long-poll waits for the first message; less than proxies do.
WAIT = 25

chat = Channel("chat", redis=os.environ.get("CHAT_REDIS"))


def app(environ, start_response):
    query = {name: values[-1] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    path = environ["PATH_INFO"]
    if path == "/say" and environ["REQUEST_METHOD"] == "POST":
        say(json.load(environ["wsgi.input"]))
        return reply(start_response, "204 No Content", "text/plain", b"")
    if path == "/poll":
        return poll(environ, query.get("after"))(environ, start_response)
    if path == "/events":
        return EventStream(environ, events(environ, query.get("after")))(environ, start_response)
    if path == "/socket" and "wsgi.websocket" in environ:
        return environ["wsgi.websocket"].handle(talk, data=query.get("after"))
    return reply(start_response, "200 OK", "text/html; charset=utf-8", PAGE)


def say(message):
    """Publish a message with its author and its text."""
    chat.publish({"name": str(message["name"])[:40], "text": str(message["text"])[:2000], "worker": os.getpid()})


def as_json(message):
    return {"id": message.id, "missed": message.missed, **message.data}


def hello(place):
    """Return the first message to a client: its place in the channel, and its worker."""
    return {"hello": os.getpid(), "id": place}


# Long-poll: a request that is answered when there is a message. While it waits, it has no greenlet


def poll(environ, after):
    # A client without a place gets one at once.
    return LongPoll(environ, chat, after=after, timeout=WAIT, body=answer)


def answer(messages, place):
    return json.dumps([hello(place), *map(as_json, messages)]).encode()


# Server-sent events: a response that does not end


def events(environ, after):
    """Yield what the page gets. EventStream(environ, chat) would do for messages alone."""
    after = environ.get("HTTP_LAST_EVENT_ID") or after
    with chat.subscribe(after=after, environ=environ) as news:
        yield Event(json.dumps(hello(news.position)), id=news.position)
        for message in news:
            yield Event(json.dumps(as_json(message)), id=message.id)


# WebSocket: both ways on one connection. Between two messages it has no greenlet


class Talk:
    """Gets what a client sends, and has what is published sent to it."""

    def on_open(self, ws):
        news = chat.subscribe(after=ws.data)
        ws.send(json.dumps(hello(news.position)))
        ws.subscribe(news, encode=as_text, missed=missing)

    def on_message(self, ws, message):
        say(json.loads(message))


def as_text(message):
    return json.dumps(as_json(message))


def missing(count):
    return json.dumps({"missed": count})


talk = Talk()


def reply(start_response, status, kind, body):
    start_response(status, [("Content-Type", kind)])
    return [body]
