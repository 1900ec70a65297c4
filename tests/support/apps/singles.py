"""A function that runs in one worker, and background tasks, which note in a file what they do: ``MARKS``."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent

from geventwsgi.workers import background, once

if TYPE_CHECKING:
    from collections.abc import Iterable

MARKS = Path(os.environ["MARKS"])


def note(text: str) -> None:
    with MARKS.open("a") as file:
        file.write(f"{time.monotonic()} {os.getpid()} {text}\n")


@once("single")
def single() -> None:
    with MARKS.with_suffix(".lock").open("a") as file:
        try:
            # Of another kind than the server's own locks: the two do not see each other.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            note("twice")
            raise
        note("begin")
        try:
            while True:
                gevent.sleep(0.05)
                note("runs")
        finally:
            note("end")


def task(seconds: float) -> None:
    note("task begins")
    gevent.sleep(seconds)
    note("task ends")


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/task":
        background(task, float(environ["QUERY_STRING"]))
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
