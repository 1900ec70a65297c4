"""How much memory another process uses, from /proc (proc(5)); Linux only."""

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


def reset_peak(pid: int) -> None:
    """Let :func:`peak_rss` start anew from the present resident set."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found, f"no {name}"
    return int(found[1]) * 1024
