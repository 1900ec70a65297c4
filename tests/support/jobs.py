"""Every way in which an application starts a process and waits for it, each as a function that returns what it saw.

Imported by the processes that ``spawn`` and a fork server start, so it does nothing by itself.
"""

from __future__ import annotations

import concurrent.futures
import functools
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: What a way returns when all is right.
EXPECTED = {
    "run": [3, "said\n"],
    "popen": [3, "said\n"],
    "preexec_fn": [3, "said\n"],
    "fork": 7,
    "Process by fork": [7, "done"],
    "Process by spawn": [7, "done"],
    "Process by forkserver": [7, "done"],
    "executor by fork": "done",
    "executor by spawn": "done",
}


def work() -> str:
    """Do what jobs do: wait, run another program, use a thread and a lock."""
    time.sleep(0.005)
    assert subprocess.run(["true"], check=False).returncode == 0
    thread = threading.Thread(target=time.sleep, args=(0.001,))
    thread.start()
    thread.join(10)
    return "done"


def job(answers: Any) -> None:
    """Be the target of a ``Process``."""
    answers.send(work())
    sys.exit(7)


def run() -> Any:
    """Run a command by :mod:`subprocess`."""
    return _seen(subprocess.run("echo said; exit 3", shell=True, stdout=subprocess.PIPE, text=True, check=False))


def preexec_fn() -> Any:
    """Run a command that Python code comes before, which waits."""
    return _seen(
        subprocess.run(
            ["sh", "-c", "echo said; exit 3"],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            preexec_fn=functools.partial(time.sleep, 0.005),
        )
    )


def _seen(completed: subprocess.CompletedProcess[str]) -> Any:
    return [completed.returncode, completed.stdout]


def popen() -> Any:
    """Run a command by :func:`os.popen`."""
    pipe = os.popen("echo said; exit 3")
    said = pipe.read()
    return [os.waitstatus_to_exitcode(pipe.close() or 0), said]


def fork() -> Any:
    """Double this process; the child ends by ``os._exit``."""
    pid = os.fork()
    if pid == 0:
        os._exit(7 if work() == "done" else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def process(method: str) -> Any:
    """Start a ``Process`` by a start method."""
    context = multiprocessing.get_context(method)
    answers, sender = context.Pipe(duplex=False)
    started = context.Process(target=job, args=(sender,))
    started.start()
    sender.close()
    answer = answers.recv()
    started.join()
    return [started.exitcode, answer]


def executor(method: str) -> Any:
    """Let a pool of processes work."""
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(work).result(30)


WAYS: dict[str, Callable[[], Any]] = {
    "run": run,
    "popen": popen,
    "preexec_fn": preexec_fn,
    "fork": fork,
    **{f"Process by {name}": functools.partial(process, name) for name in ("fork", "spawn", "forkserver")},
    **{f"executor by {name}": functools.partial(executor, name) for name in ("fork", "spawn")},
}


def attempt(place: str) -> None:
    """Go all ways, and append what each returned or raised to the file that ``JOBS`` names, as a line of JSON."""
    for way, function in WAYS.items():
        try:
            seen = function()
        except Exception as error:
            seen = repr(error)
        with Path(os.environ["JOBS"]).open("a") as file:
            file.write(json.dumps([place, way, seen]) + "\n")
