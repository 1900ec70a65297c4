"""Threads, timers and greenlets that an application started in the master (``preload_app``, ``serve``).

They are greenlets of the master, which is patched. They run there, once, while the master sleeps. A worker gets none of
them, just as a fork copies no threads.
"""

from __future__ import annotations

import gc
import queue
import select
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gevent.select import poll

from geventwsgi.collector import somebody_froze
from geventwsgi.serving.loop.disarm import disarm

if TYPE_CHECKING:
    from collections.abc import Iterable


def wait(descriptors: Iterable[int], milliseconds: int | None) -> None:
    """Let greenlets run until a descriptor is readable or closed at its other end, or the time has passed.

    :raises BaseException: others' code has thrown it into this greenlet; see
        :func:`~geventwsgi.worker.boot_report.thrown`.
    """
    poller = poll()
    for fd in descriptors:
        poller.register(fd, select.POLLIN)
    poller.poll(milliseconds)


def leave() -> None:
    """Leave all of them to the master, in a worker that has just been forked.

    Pools of threads (:mod:`concurrent.futures`) work in the worker: the next task starts a thread there.
    """
    frozen = somebody_froze()
    disarm(keep_timeouts=False)
    if frozen:
        gc.freeze()
    pools = sys.modules.get("concurrent.futures.thread")
    threads: Any = getattr(pools, "_threads_queues", {})
    for thread in list(threads):
        with suppress(Exception):  # a version of Python that keeps the pool elsewhere
            _renew(thread._args[0]())  # noqa: SLF001 - nothing else leads from a thread to its pool
        threads.pop(thread, None)


def _renew(pool: Any) -> None:
    """Make a pool like new. The tasks that wait in its queue are the master's."""
    if pool is not None:
        pool._work_queue = queue.SimpleQueue()  # noqa: SLF001 - as its constructor does
        pool._idle_semaphore = threading.Semaphore(0)  # noqa: SLF001
        pool._shutdown_lock = threading.Lock()  # noqa: SLF001
        pool._threads = set()  # noqa: SLF001
