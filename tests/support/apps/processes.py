"""What tests of processes ask a worker to do: /PATH?ARGUMENT, answered with text, in most cases the worker's pid.

``begun PATH`` in the error log tells that a request is in flight.
"""

from __future__ import annotations

import builtins
import gc
import itertools
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import gevent
from gevent import monkey

#: Of the process that imported this module.
IMPORTED_BY = os.getpid()
#: Timers that have been started.
timers = []


def sleep(argument):
    time.sleep(float(argument))
    return os.getpid()


def block(argument):
    """Block the loop in a system call that signals interrupt."""
    monkey.get_original("time", "sleep")(float(argument))
    return os.getpid()


def spin(_argument):
    while True:
        pass


def stick(_argument):
    """Loop in C for ever, without a look at signals."""
    return any(itertools.repeat(0))


def leave(argument):
    os._exit(int(argument))


def leave_later(argument):
    gevent.spawn_later(0.1, sys.exit, argument)
    return os.getpid()


def fail_later(argument):
    """Raise an exception, NAME:SECONDS from now, where no request catches it: in a callback of the loop."""
    name, _, seconds = argument.partition(":")

    def fail():
        raise getattr(builtins, name)

    timer = gevent.get_hub().loop.timer(float(seconds))
    timer.start(fail)
    timers.append(timer)
    return os.getpid()


def read_variable(argument):
    return os.environ.get(argument, "none")


def identify(_argument):
    """User and group ids, then the further groups."""
    return f"{os.getresuid()} {os.getresgid()} {os.getgroups()}"


def create(argument):
    """Make a file; return its permission bits."""
    path = Path(argument)
    path.touch()
    return oct(path.stat().st_mode & 0o777)


def orphan(argument):
    """Leave a process without a parent, which ends after so many seconds; return its pid."""
    command = f"sleep {argument} >/dev/null 2>&1 & echo $!"
    return subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True, text=True).stdout.strip()


ACTIONS = {
    "/pid": lambda _argument: os.getpid(),
    "/sleep": sleep,
    "/block": block,
    "/spin": spin,
    "/stick": stick,
    "/leave": leave,
    "/leave-later": leave_later,
    "/fail-later": fail_later,
    "/environ": read_variable,
    "/cwd": lambda _argument: Path.cwd(),
    "/random": lambda _argument: random.random(),
    "/identity": identify,
    "/create": create,
    "/orphan": orphan,
    "/print": lambda argument: print(argument, flush=True),
    "/frozen": lambda _argument: gc.get_freeze_count(),
    "/threshold": lambda _argument: gc.get_threshold()[0],
    "/imported": lambda _argument: IMPORTED_BY,
}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    environ["wsgi.errors"].write(f"begun {path}\n")
    environ["wsgi.errors"].flush()
    body = str(ACTIONS[path](environ["QUERY_STRING"])).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
