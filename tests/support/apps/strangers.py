"""An application whose requests fork: ``/start?how=HOW&act=ACT`` answers with the child's pid."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs

#: Lines of what happened, which a test reads: the name, and the process in which it was.
NOTES = Path(os.environ.get("NOTES", os.devnull))
#: What another request waits for.
door = threading.Event()


def note(name):
    with NOTES.open("a") as file:
        file.write(f"{name} {os.getpid()}\n")


atexit.register(note, "atexit")


# What children do


def sleep():
    """Wait by the loop, as long as nobody ends the process."""
    note("sleeps")
    while True:
        time.sleep(0.02)


def wake():
    """Set what requests of the parent wait for, and wait."""
    door.set()
    sleep()


def serve():
    """Serve, at a port of its own, what a server of its own serves."""
    from gevent import socket

    from geventwsgi import WSGIServer

    def own(environ, start_response):
        time.sleep(0.01)
        start_response("200 OK", [])
        return [b"a child's"]

    listener = socket.create_server(("127.0.0.1", 0))
    note(f"serves {listener.getsockname()[1]}")
    WSGIServer(listener, own, log=None).serve_forever()


def leave():
    """End as Python programs do."""
    sys.exit(5)


def fail():
    """End by an exception."""
    raise RuntimeError("of a child")


def catch():
    """Take TERM as the application wants it, and wait."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
    sleep()


ACTS = {act.__name__: act for act in (sleep, wake, serve, leave, fail, catch)}


# How they are started


def fork(act):
    pid = os.fork()
    if pid == 0:
        act()
        os._exit(0)
    return pid


def process(act):
    started = multiprocessing.get_context("fork").Process(target=act)
    started.start()
    return started.pid


def greenlet(act):
    pids = []
    threading.Thread(target=lambda: pids.append(fork(act))).start()
    while not pids:
        time.sleep(0.001)
    return pids[0]


def native(act):
    from gevent import get_hub
    from gevent.monkey import get_original

    def double():
        pid = get_original("os", "fork")()
        if pid == 0:
            act()
            os._exit(0)
        return pid

    return get_hub().threadpool.apply(double)


def daemon(act):
    """Be a daemon as they were before supervisors: forked twice, in a session of its own."""
    pid = fork(lambda: (os.setsid(), fork(act)))
    os.waitpid(pid, 0)
    return 0


HOWS = {how.__name__: how for how in (fork, process, greenlet, native, daemon)}


def application(environ, start_response):
    path, query = environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"])
    body = [b"%d" % os.getpid()]
    if path == "/start":
        body = [b"%d" % HOWS[query["how"][0]](ACTS[query["act"][0]])]
    elif path == "/return":
        pid = os.fork()
        body = [b"%d" % pid]
    elif path == "/bare":
        pid = os.fork()
        if pid == 0:
            ACTS[query["act"][0]]()
        status = os.waitpid(pid, 0)[1]
        body = [b"%d" % os.waitstatus_to_exitcode(status)]
    elif path == "/echo":
        return echo(environ, start_response)
    elif path == "/wait":
        time.sleep(0.5)
        note("waited")
    elif path == "/door":
        door.wait(1)
        note("passed")
    elif path == "/chunks":
        body = chunks()
    elif path == "/hang":
        from gevent.monkey import get_original

        get_original("time", "sleep")(60)
    start_response("200 OK", [])
    return body


def echo(environ, start_response):
    """Take the connection over, wait on its descriptor as libraries do, fork, and send back what comes."""
    from gevent.select import select

    sock = environ["geventwsgi.socket"]
    sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    fd = sock.fileno()
    fork(sleep)
    while select([fd], [], [], 10)[0] and (data := sock.recv(100)):
        sock.sendall(data)
    return []


def chunks():
    for _ in range(5):
        time.sleep(0.1)
        yield b"%d " % os.getpid()
