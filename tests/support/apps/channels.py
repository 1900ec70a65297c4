"""A channel's endpoints: publish, subscribe by events or in the worker itself, count, block."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import time
from urllib.parse import parse_qs

import gevent
import gevent.monkey

from geventwsgi.events import Channel, EventStream
from geventwsgi.mesh.frames import MESSAGE
from geventwsgi.mesh.peer import Peer

channel = Channel("test", redis=os.environ.get("TEST_REDIS") or None)
#: For each subscriber that runs in this worker: messages got, missed, and whether one came twice or out of order.
counts = []


def application(environ, start_response):
    query = {name: values[-1] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    path = environ["PATH_INFO"]
    if path == "/events":
        return EventStream(environ, channel, heartbeat=0.5)(environ, start_response)
    answer = ACTIONS[path](query, environ)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"pid": os.getpid(), "answer": answer}).encode()]


def publish(query, environ):
    """Publish ``count`` messages, each with the publisher's name and its number."""
    news = room(int(query["room"])) if "room" in query else channel
    for number in range(int(query.get("from", "0")), int(query["count"])):
        news.publish([query["name"], number, query.get("text", "x" * 40)])


def watch(query, environ):
    """Start so many subscribers here."""
    for _ in range(int(query["count"])):
        count = {"got": 0, "missed": 0, "wrong": 0}
        counts.append(count)
        gevent.spawn(follow, channel.subscribe(), count)


def follow(subscription, count):
    last = {}
    while messages := subscription.batch():
        wrong = 0
        for message in messages:
            name, number = parsed(message.text)
            wrong += number != last.get(name, -1) + 1
            last[name] = number
        count["wrong"] += wrong
        count["missed"] += sum(message.missed for message in messages)
        count["got"] += len(messages)


@functools.lru_cache(64)
def parsed(text):
    """Return a message's publisher and number; once for all subscribers, whose work is not what is tested."""
    return json.loads(text)[:2]


def stick(query, environ):
    """Subscribe and never take anything."""
    environ["stuck"] = channel.subscribe()
    STUCK.append(environ["stuck"])


def unstick(query, environ):
    messages = STUCK[0].batch(0)
    return [messages[0].missed if messages else 0, len(messages)]


def report(query, environ):
    return counts


def poll(query, environ):
    source = room(int(query["room"])) if "room" in query else channel
    with source.subscribe(after=query.get("after"), environ=environ) as news:
        messages = news.batch(float(query.get("timeout", "20")))
        return {"messages": [message.data for message in messages], "after": news.position}


def block(query, environ):
    gevent.get_hub()
    deadline = time.monotonic() + float(query["seconds"])
    while time.monotonic() < deadline:
        pass


def exhaust(query, environ):
    """Take all descriptors that there are."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with contextlib.suppress(OSError):
        while True:
            HELD.append(os.open(os.devnull, os.O_RDONLY))


def release(query, environ):
    while HELD:
        os.close(HELD.pop())


def fork(query, environ):
    """Leave a process behind that does nothing for so long."""
    child = os.fork()
    if not child:
        gevent.monkey.get_original("time", "sleep")(float(query["seconds"]))
        os._exit(0)
    return child


# Many channels


def rooms(query, environ):
    """Subscribe to so many channels, each by an object that is made for it alone."""
    for number in range(int(query["from"]), int(query["to"])):
        ROOMS[number] = room(number).subscribe(after=query.get("after"))


def room(number):
    return Channel(f"room {number}", redis=os.environ.get("TEST_REDIS") or None)


def tell_rooms(query, environ):
    """Publish one message in each of so many channels."""
    for number in range(int(query["from"]), int(query["to"])):
        room(number).publish(number)


def heard(query, environ):
    """Return how many messages have come, and those of them that are not their channel's own first one."""
    for number, subscription in ROOMS.items():
        GOT.extend((number, message.data, message.missed) for message in subscription.batch(0))
    return {"count": len(GOT), "wrong": [got for got in GOT if got[0] != got[1] or got[2]]}


def count_frames(query, environ):
    """Count the messages that are sent to other workers from now on."""
    send = Peer.send

    def counting(self, data, *, needed=False):
        FRAMES.append(data[0])
        send(self, data, needed=needed)

    Peer.send = counting


def frames(query, environ):
    return FRAMES.count(MESSAGE)


ROOMS = {}
GOT = []
FRAMES = []
STUCK = []
HELD = []
ACTIONS = {
    "/publish": publish,
    "/watch": watch,
    "/report": report,
    "/poll": poll,
    "/block": block,
    "/stick": stick,
    "/unstick": unstick,
    "/exhaust": exhaust,
    "/release": release,
    "/fork": fork,
    "/rooms": rooms,
    "/tell": tell_rooms,
    "/heard": heard,
    "/count": count_frames,
    "/frames": frames,
    "/pid": lambda query, environ: None,
}
