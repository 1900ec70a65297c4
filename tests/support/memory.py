"""How much memory, and how many descriptors, another process uses, from /proc (proc(5)); Linux only."""

from __future__ import annotations

import re
from pathlib import Path

MIB = 1 << 20


def peak_rss(pid: int) -> int:
    """Return the largest resident set so far, in bytes."""
    return _status(pid, "VmHWM")


def rss(pid: int) -> int:
    """Return the resident set, in bytes."""
    return _status(pid, "VmRSS")


def pss(pid: int) -> int:
    """Return the proportional set, in bytes: a page that n processes share counts as its nth part in each."""
    return _field(Path(f"/proc/{pid}/smaps_rollup"), "Pss")


def private(pid: int) -> int:
    """Return the bytes that belong to this process alone."""
    return sum(_field(Path(f"/proc/{pid}/smaps_rollup"), f"Private_{part}") for part in ("Clean", "Dirty", "Hugetlb"))


def descriptors(pid: int) -> int:
    """Return how many descriptors are open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def reset_peak(pid: int) -> None:
    """Let :func:`peak_rss` start anew from the present resident set."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, name: str) -> int:
    return _field(Path(f"/proc/{pid}/status"), name)


def _field(path: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    assert found, f"no {name}"
    return int(found[1]) * 1024
