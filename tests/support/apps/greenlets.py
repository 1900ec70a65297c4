"""Waits or works for some tenths of a second in the way that the path names; answers whether others ran meanwhile."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import queue
import subprocess
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gevent
from gevent.monkey import get_original

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SECONDS = 0.3


def nap(_: object = None) -> None:
    time.sleep(SECONDS)


def in_executor(executor: concurrent.futures.Executor) -> None:
    with executor:
        executor.submit(nap).result()


def in_pool() -> None:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.map(nap, [1])


def in_process() -> None:
    process = multiprocessing.get_context("fork").Process(target=nap)
    process.start()
    process.join()


def in_thread() -> None:
    thread = threading.Thread(target=nap)
    thread.start()
    thread.join()


def in_queue() -> None:
    with suppress(queue.Empty):
        queue.Queue().get(timeout=SECONDS)


WAYS: dict[str, Callable[[], Any]] = {
    "sleep": nap,
    "thread": in_thread,
    "queue": in_queue,
    "ThreadPoolExecutor": lambda: in_executor(concurrent.futures.ThreadPoolExecutor(1)),
    "ProcessPoolExecutor": lambda: in_executor(
        concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))
    ),
    "Pool": in_pool,
    "Process": in_process,
    "subprocess": lambda: subprocess.run(["sleep", str(SECONDS)], check=True),
    "popen": lambda: os.popen(f"sleep {SECONDS}").close(),
    "threadpool": lambda: gevent.get_hub().threadpool.apply(get_original("time", "sleep"), (SECONDS,)),
    "system": lambda: os.system(f"sleep {SECONDS}"),
    "original sleep": lambda: get_original("time", "sleep")(SECONDS),
    "original lock": lambda: get_original("threading", "Lock")().acquire() and _blocked(),
    "native subprocess": lambda: gevent.get_hub().threadpool.apply(subprocess.run, (["true"],)),
    "nan": lambda: time.sleep(float("nan")),
}


def _blocked() -> None:
    lock = get_original("threading", "Lock")()
    lock.acquire()
    lock.acquire(timeout=SECONDS)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    turns = []

    def others() -> None:
        while True:
            gevent.sleep(0.01)
            turns.append(1)

    other = gevent.spawn(others)
    gevent.sleep(0)
    try:
        WAYS[environ["PATH_INFO"][1:]]()
        answer = "others ran" if turns else "others waited"
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    other.kill()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode()]
