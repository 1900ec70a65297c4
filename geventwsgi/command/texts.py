"""What commands print: numbers and tables as plain text, in which nothing can steer the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.observe.outputs.escape import clean, escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def duration(seconds: float) -> str:
    """Return seconds as a short text: ``0.250 s``, ``12.3 s``, ``2:05``, ``3:04:05``, ``2d 03:04``."""
    whole = int(seconds)
    if seconds < _MINUTE:
        return f"{seconds:.3f} s" if seconds < 10 else f"{seconds:.1f} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}:{whole % _MINUTE:02}"
    if whole < _DAY:
        return f"{whole // _HOUR}:{whole % _HOUR // _MINUTE:02}:{whole % _MINUTE:02}"
    return f"{whole // _DAY}d {whole % _DAY // _HOUR:02}:{whole % _HOUR // _MINUTE:02}"


def size(number: int) -> str:
    """Return bytes as a short text: ``512``, ``1.5K``, ``20M``."""
    value, unit = float(number), ""
    for unit in ("", "K", "M", "G", "T"):
        if value < 1024 or unit == "T":
            break
        value /= 1024
    return f"{value:.0f}{unit}" if value >= 10 or not unit else f"{value:.1f}{unit}"


def target(row: dict[str, Any]) -> str:
    """Return a request's path and query, escaped."""
    query = row.get("query")
    return escape(f"{row['path']}?{query}" if query else row["path"])


def place(value: str | None) -> str:
    """Return a place in code, or a dash."""
    return "-" if value is None else clean(value)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table, whose columns are as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def status_lines(status: dict[str, Any]) -> Iterator[str]:
    """Yield what ``gwsgi status`` prints."""
    master, workers, stalls = status["master"], status["workers"], status["stalls"]
    yield f"geventwsgi {master['version']}, master {master['pid']}, up {duration(master['uptime'])}"
    yield f"listening at {', '.join(map(clean, status['listeners']))}"
    yield ""
    head = ("WORKER", "STAGE", "AGE", "REQUESTS", "CONNECTIONS", "SERVED")
    names = ("requests", "connections", "served")
    yield from table(
        head,
        [(str(one["pid"]), one["stage"], duration(one["age"]), *(str(one[name]) for name in names)) for one in workers],
    )
    if stalls:
        yield ""
        yield from table(*stall_table(stalls))


def stall_table(stalls: Sequence[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return head and rows of the table of the worst stalls."""
    rows: list[tuple[str, ...]] = [
        (str(one["times"]), duration(one["worst"]), duration(one["total"]), place(one["place"])) for one in stalls
    ]
    return ("STALLS", "WORST", "TOTAL", "AT"), rows


def stacks_lines(stacks: dict[str, Any]) -> Iterator[str]:
    """Yield what ``gwsgi stacks`` prints."""
    for pid, told in stacks.items():
        if told is None:
            yield f"Worker {pid} does not answer: it is stuck in compiled code, or stopped"
            continue
        yield f"Worker {pid} has {'no greenlet of the application' if not told else 'these greenlets'}:"
        for one in told:
            yield f"  {clean(one['who'])} at:"
            yield from (f"  {clean(line)}" for line in one["stack"].splitlines())
