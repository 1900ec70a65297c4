"""Keeps the loop from turning for 0.3 s and more: by Python code, by a call of C code, by a wait without gevent."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import gevent
from gevent.monkey import get_original

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What gevent has not replaced.
_wait = get_original("time", "sleep")


def compute(seconds: float = 0.35) -> None:
    end = time.perf_counter() + seconds
    sum(1 for _ in iter(lambda: time.perf_counter() < end, False))


def long() -> None:
    compute(1.2)


def call() -> None:
    # As long as it takes: some tenths of a second.
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 1_000_000)


def wait() -> None:
    # Signals interrupt it, and it goes on.
    _wait(0.35)


def green() -> None:
    gevent.sleep(1)


def forever() -> None:
    gevent.sleep(60)


WAYS = {"/forever": forever, "/compute": compute, "/long": long, "/call": call, "/wait": wait, "/green": green}


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path in WAYS:
        environ["wsgi.errors"].write(f"begun {path}\n")
        WAYS[path]()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
