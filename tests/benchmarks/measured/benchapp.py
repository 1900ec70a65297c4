"""The application that every server runs: a path for each row. It imports nothing that a server would not have loaded.

``time.sleep`` is how it waits, so that a server that patches it waits in a greenlet. ``BENCH_FILE`` names the file that
``/file`` sends, ``BENCH_COUNTER`` a file whose first eight bytes count the requests that have begun to wait: their
client reads it without asking the server anything.
"""

from __future__ import annotations

import mmap
import os
import time
from functools import cache

PIECE = 64 * 1024
WAIT = 0.1  # seconds
CHUNK = b"x" * 1024


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]
    return PATHS[path](environ, start_response)


def upload(environ, start_response):
    read, left = environ["wsgi.input"].read, int(environ["CONTENT_LENGTH"])
    while left > 0:
        piece = read(min(PIECE, left))
        if not piece:
            break
        left -= len(piece)
    return text(start_response, b"%d bytes missing" % left)


def send_file(environ, start_response):
    file = open(os.environ["BENCH_FILE"], "rb")  # noqa: PTH123, SIM115 - the wrapper, and so the server, closes it
    length = os.fstat(file.fileno()).st_size
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(length))])
    return environ.get("wsgi.file_wrapper", blocks)(file, PIECE)


def blocks(file, size):
    with file:
        while block := file.read(size):
            yield block


def stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(100):
        yield CHUNK


def wait(environ, start_response):
    count()
    time.sleep(WAIT)
    return text(start_response, b"waited")


def hold(environ, start_response):
    count()
    time.sleep(60)
    return text(start_response, b"held")


def echo(environ, start_response):
    websocket = environ["wsgi.websocket"]
    while (message := websocket.receive()) is not None:
        websocket.send(message)
    return []


class Echo:
    def on_message(self, ws, message):
        ws.send(message)


class Subscribed:
    def on_open(self, ws):
        ws.subscribe(channel())

    def on_message(self, ws, message):
        pass


def echo_handler(environ, start_response, handler=Echo()):  # noqa: B008 - one for all
    return environ["wsgi.websocket"].handle(handler)


def subscribed(environ, start_response, handler=Subscribed()):  # noqa: B008 - the same
    return environ["wsgi.websocket"].handle(handler)


def events(environ, start_response):
    if "geventwsgi.hold" not in environ:
        return queued_events(start_response)
    return channels().EventStream(environ, channel())(environ, start_response)


def queued_events(start_response):
    """Stream from a queue of the client's own, as applications do under gevent.pywsgi."""
    from gevent.queue import Queue  # not in every server's environment

    queue = Queue()
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    queues.add(queue)
    try:
        yield b":\n\n"
        for message in queue:
            yield b"data: %b\n\n" % message
    finally:
        queues.discard(queue)


def poll(environ, start_response):
    return channels().LongPoll(environ, channel(), after="0", timeout=60)(environ, start_response)


def recall(environ, start_response):
    polled = channels().poll(environ, channel(), after="0", timeout=60)
    if polled is None:
        count()
        start_response("204 No Content", [])
        return []
    return text(start_response, b"polled")


def publish(environ, start_response):
    message = environ["wsgi.input"].read()
    if "geventwsgi.hold" in environ:
        channel().publish(message.decode())
    for queue in queues:
        queue.put(message)
    return text(start_response, b"published")


def channels():
    import geventwsgi.events  # only our own server has these rows

    return geventwsgi.events


@cache
def channel():
    return channels().Channel("events")


def text(start_response, body):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


PATHS = {
    "/upload": upload,
    "/file": send_file,
    "/stream": stream,
    "/wait": wait,
    "/hold": hold,
    "/echo": echo,
    "/echo-handler": echo_handler,
    "/subscribed": subscribed,
    "/events": events,
    "/poll": poll,
    "/recall": recall,
    "/publish": publish,
}

counter = None
#: Those of queued_events.
queues = set()


def count():
    """Add one; one thread runs at a time, and a greenlet does not switch here."""
    global counter  # noqa: PLW0603 - opened by the first that waits
    if counter is None:
        with open(os.environ["BENCH_COUNTER"], "r+b") as file:  # noqa: PTH123 - pathlib is nobody else's import here
            counter = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
    counter[0] += 1
