"""A measured server's processes: start them on one core, read what they used, end them. Linux's /proc (proc(5)).

It knows nothing of HTTP, rows or servers' names.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROC = Path("/proc")
PRIVATE = re.compile(r"^Private_(?:Clean|Dirty|Hugetlb): +(\d+) kB$", re.MULTILINE)


def pin(core: int) -> None:
    """Let this process, and what it starts, run on one core only, if there is such a core."""
    if core < (os.cpu_count() or 1):
        os.sched_setaffinity(0, {core})


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: list[str], env: Mapping[str, str], cwd: Path, log: Path, core: int) -> Iterator[Session]:
    """Run a command on a core, in a session of its own, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: pin(core),  # noqa: PLW1509 - no thread is here
        )
    session = Session(process, log)
    try:
        yield session
    finally:
        session.end()


class Session:
    """All processes of a command that was started in a session of its own.

    :param log: where its output goes.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def alive(self) -> bool:
        """The first process has not ended."""
        return self.process.poll() is None

    def said(self) -> str:
        """Return what it complained of last, in a line."""
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()]
        return ["it said nothing", *lines, *errors][-1]

    def pids(self) -> list[int]:
        """Return its living processes."""
        return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal() and self._owns(entry)]

    def _owns(self, entry: Path) -> bool:
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return False
        return int(fields[3]) == self.process.pid and fields[0] not in "ZX"

    def cpu(self) -> float:
        """Return the seconds of CPU that its threads have used, user and system.

        ``schedstat`` counts nanoseconds; ``stat``'s ticks are ten milliseconds, too coarse for a turn.
        """
        tasks = [task for pid in self.pids() for task in _entries(PROC / str(pid) / "task")]
        return sum(_run_time(task) for task in tasks) / 1e9

    def settled_cpu(self) -> float:
        """Return :meth:`cpu` when it has stopped growing: the end of the last connections belongs to the work."""
        before, deadline = -1.0, time.monotonic() + 2
        while (now := self.cpu()) - before > 0.001 and time.monotonic() < deadline:
            before = now
            time.sleep(0.05)
        return now

    def private_bytes(self) -> int:
        """Return the memory that it shares with nobody."""
        texts = [(PROC / str(pid) / "smaps_rollup").read_text() for pid in self.pids()]
        return sum(int(kib) for text in texts for kib in PRIVATE.findall(text)) * 1024

    def end(self) -> None:
        """End it, politely first."""
        if self.alive:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(3)
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _run_time(task: Path) -> int:
    try:
        return int((task / "schedstat").read_text().split()[0])
    except (OSError, IndexError):  # it has ended
        return 0
