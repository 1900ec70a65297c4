"""How many workers suit this machine, or the part of it that a container has: ``workers = "auto"``.

Looks at the processors that this process may run on, and at the limits of its control groups (Linux; versions 1 and 2).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes of the memory limit for each worker at the least.
MEMORY = 128 << 20


def suitable_workers(root: Path = Path("/")) -> int:
    """Return one worker for each processor that may be used, but no more than the memory limit has room for.

    :param root: where ``/proc`` and ``/sys`` are.
    """
    processors = float(available_processors())
    groups = list(_groups(root))
    processors = min([processors, *_processor_limits(groups)])
    memory = min(_memory_limits(groups), default=None)
    whole = -int(-processors // 1)  # a part of a processor is worth a worker
    return max(1, whole if memory is None else min(whole, memory // MEMORY))


def available_processors() -> int:
    """Return how many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _groups(root: Path) -> Iterator[Path]:
    """Yield the directories of this process's control groups, and of all above them, whose limits hold as well."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        base = root / "sys/fs/cgroup"
        if controllers:
            base /= controllers.removeprefix("name=")
        # In a container the path may be the host's, which is not to be seen here: then the directory above has it.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            yield base.joinpath(*parts[:depth])


def _processor_limits(groups: list[Path]) -> Iterator[float]:
    """Yield the processors' time that each group has, in processors."""
    for group in groups:
        quota, _, period = _text(group / "cpu.max").partition(" ")
        with suppress(ValueError, ZeroDivisionError):
            yield int(quota) / int(period)
        with suppress(ValueError, ZeroDivisionError):
            limit = int(_text(group / "cpu.cfs_quota_us")) / int(_text(group / "cpu.cfs_period_us"))
            if limit > 0:
                yield limit


def _memory_limits(groups: list[Path]) -> Iterator[int]:
    for group in groups:
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(ValueError):
                yield int(_text(group / name))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
