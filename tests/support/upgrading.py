"""A server that is upgraded by USR2: two masters, of which one has started the other."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.process import Gwsgi


def parent_of(pid: int) -> int:
    """Return the process that has started another."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children_of(server: Gwsgi, pid: int) -> set[int]:
    """Return the living children of ``pid`` among the server's session."""
    return {child for child in server.group_pids() if _parent_or_none(child) == pid}


def _parent_or_none(pid: int) -> int | None:
    with suppress(OSError):
        return parent_of(pid)
    return None


@contextmanager
def upgraded(server: Gwsgi, pidfile: Path) -> Iterator[int]:
    """Send USR2; yield the new master's pid once all its workers are ready. Whatever is left is ended afterwards."""
    ready = len(server.ready_pids())
    server.signal(signal.SIGUSR2)
    second = Path(f"{pidfile}.2")
    wait_until(second.exists, 20, server.log_text)
    new = int(second.read_text())
    try:
        wait_until(lambda: len(server.ready_pids()) >= ready + 2, 20, server.log_text)
        assert parent_of(new) == server.pid
        yield new
    finally:
        for pid in (new, server.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        wait_until(lambda: server.process.poll() is not None and not server.group_pids(), 20, server.log_text)
