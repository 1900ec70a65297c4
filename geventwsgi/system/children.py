"""Child processes: which there are, who has started them, how one has ended."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any

#: The pids of children that others' code has started. That code waits for them.
theirs: set[int] = set()


def children() -> set[int]:
    """Return the pids of this thread's children if this is the first process of a container, else nothing.

    Nothing either if ``/proc`` is another container's, since its pids would be that container's.
    """
    with suppress(OSError):
        if os.getpid() == 1 and os.readlink("/proc/self") == "1":
            with open("/proc/thread-self/children", encoding="ascii") as file:
                return set(map(int, file.read().split()))
    return set()


def begin_as_child() -> None:
    """Begin as a child of :mod:`multiprocessing` does, in a worker that has just been forked.

    The processes that the master's code has started by it stay the master's: the worker neither ends nor waits for
    them. Its queues and locks, which have threads and owners in the master, begin anew.
    """
    process: Any = sys.modules.get("multiprocessing.process")
    util: Any = sys.modules.get("multiprocessing.util")
    with suppress(Exception):  # a version of Python that does this otherwise
        if process is not None:
            process._children = set()  # noqa: SLF001 - as BaseProcess._bootstrap does
        if util is not None:
            util._run_after_forkers()  # noqa: SLF001


def end_as_child() -> None:
    """End a worker as a child of :mod:`multiprocessing` ends: terminate its daemonic processes, wait for the others.

    The interpreter would do it by :mod:`atexit`. But the function is not registered again in a worker whose master has
    imported the module.
    """
    util: Any = sys.modules.get("multiprocessing.util")
    with suppress(Exception, SystemExit):
        if util is not None:
            util._exit_function()  # noqa: SLF001 - as BaseProcess._bootstrap does; a second call does nothing


def end_executors() -> None:
    """Let pools of processes end. Otherwise :mod:`multiprocessing` would wait for their processes for ever."""
    pools = sys.modules.get("concurrent.futures.process")
    if pools is not None:
        with suppress(Exception, SystemExit):
            vars(pools)["_python_exit"]()  # which the interpreter calls before atexit's functions


def describe_end(status: int | None) -> str:
    """Return in words how a process ended.

    :param status: as ``os.waitpid`` has it; None if it is not known.
    """
    if status is None:
        return "has ended; its status was collected by other code in this process"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")
