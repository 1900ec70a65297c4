"""Child processes as the system tells of them: which there are, whose they are, how one has ended."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

#: Children that others' code has started: whoever started them waits for them.
theirs: set[int] = set()


def children() -> set[int]:
    """Return the children of this thread, where it is that of a container's first process; nothing elsewhere.

    Nothing either where ``/proc`` is another container's, by whose numbers it would name them.
    """
    with suppress(OSError):
        if os.getpid() == 1 and os.readlink("/proc/self") == "1":
            with open("/proc/thread-self/children", encoding="ascii") as file:
                return set(map(int, file.read().split()))
    return set()


def describe_end(status: int | None) -> str:
    """Return how a process ended, from ``os.waitpid``'s status."""
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
