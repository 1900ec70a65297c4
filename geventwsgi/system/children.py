"""Child processes: which there are, who has started them, how one has ended."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

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
