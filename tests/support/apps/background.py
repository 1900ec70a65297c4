"""An application that starts something in the background; each kind notes, again and again, which process it runs in.

``STARTS`` names what is started while this is imported, ``NOTES`` the file that the pids are written to.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import gevent
from gevent.threadpool import ThreadPool
from greenlet import greenlet

from geventwsgi.events import Channel

#: Seconds between two notes.
PERIOD = 0.02
pool = ThreadPoolExecutor(2)
native = ThreadPool(2)
queue = multiprocessing.Queue()
channel = Channel("background")
heard = []
started = []


def note():
    with Path(os.environ["NOTES"]).open("a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")


def note_for_ever():
    while True:
        time.sleep(PERIOD)
        note()


def start_thread():
    started.append(threading.Thread(target=note_for_ever, daemon=True))
    started[-1].start()


def start_timer():
    def again():
        note()
        start_timer()

    timer = threading.Timer(PERIOD, again)
    timer.daemon = True
    timer.start()


def start_task():
    pool.submit(note_for_ever)


def start_greenlet():
    started.append(gevent.spawn(note_for_ever))


def start_scheduler():
    from apscheduler.schedulers.background import BackgroundScheduler

    started.append(BackgroundScheduler())
    started[-1].add_job(note, "interval", seconds=PERIOD)
    started[-1].start()


def start_program():
    def run():
        while True:
            if subprocess.run([sys.executable, "-S", "-c", ""], check=False).returncode == 0:
                note()

    threading.Thread(target=run, daemon=True).start()


def start_publisher():
    def publish():
        while True:
            time.sleep(PERIOD)
            channel.publish(os.getpid())
            note()

    threading.Thread(target=publish, daemon=True).start()


def start_in_each():
    """What a library does that wants its thread in each process."""
    os.register_at_fork(after_in_child=start_thread)


def start_exit():
    def leave():
        time.sleep(PERIOD)
        sys.exit(7)

    gevent.spawn(leave)
    start_thread()


def start_resolver():
    """Have gevent start native threads."""
    socket.getaddrinfo("localhost", 80)
    start_thread()


def start_native_task():
    native.spawn(pow, 2, 10).get()
    start_thread()


def start_queue():
    """Have the master put one thing and take all."""

    def take():
        while True:
            pid = queue.get()
            with Path(os.environ["NOTES"]).open("a", encoding="ascii") as file:
                file.write(f"{pid}\n")

    queue.put(os.getpid())
    threading.Thread(target=take, daemon=True).start()


def start_timeout():
    gevent.Timeout.start_new(1)
    start_thread()


def divide():
    time.sleep(PERIOD)
    1 / 0


def start_plain_greenlet():
    """Have one fail whose parent is the main greenlet."""
    gevent.get_hub().loop.run_callback(greenlet(divide).switch)
    start_thread()


def start_computing(*kinds):
    """Have a greenlet compute for ever from the time on when there is a file of notes."""

    def compute():
        while not Path(os.environ["NOTES"]).exists():
            time.sleep(PERIOD)
        note()
        while True:
            with suppress(*kinds):
                while True:
                    pass

    gevent.spawn(compute)


def hear():
    heard.extend(message.data for message in channel.subscribe())


START = {
    "thread": start_thread,
    "timer": start_timer,
    "executor": start_task,
    "greenlet": start_greenlet,
    "apscheduler": start_scheduler,
    "program": start_program,
    "publisher": start_publisher,
    "in each": start_in_each,
    "exit": start_exit,
    "resolver": start_resolver,
    "gevent's pool": start_native_task,
    "queue": start_queue,
    "timeout": start_timeout,
    "plain greenlet": start_plain_greenlet,
    "computes": start_computing,
    "computes and catches everything": lambda: start_computing(BaseException),
    "": lambda: None,
}
if "NOTES" in os.environ:
    START[os.environ.get("STARTS", "")]()


def application(environ, start_response):
    """Answer by the process and what it has."""
    path, answer = environ["PATH_INFO"], None
    if path == "/pool":
        answer = pool.submit(pow, 2, 10).result(5)
    elif path == "/gevent-pool":
        answer = native.spawn(pow, 2, 10).get(timeout=5)
    elif path == "/put":
        answer = os.getpid()
        queue.put(answer)
    elif path == "/thread":
        started[0].join(5)
        answer = started[0].is_alive()
    elif path == "/hear":
        gevent.spawn(hear)
    elif path == "/heard":
        answer = heard
    elif path == "/frozen":
        answer = gc.get_freeze_count()
    elif path == "/resolve":
        answer = bool(socket.getaddrinfo("localhost", 80))
    elif path == "/kill":
        with suppress(OSError):
            os.kill(os.getpid(), signal.SIGKILL)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"pid": os.getpid(), "answer": answer}).encode()]
