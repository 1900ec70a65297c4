"""Draws ``gwsgi top`` on a terminal and reads its keys."""

from __future__ import annotations

import io
import os
import select
import sys
import termios
import time
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from geventwsgi.command.talk import CommandError
from geventwsgi.command.top import Top

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from geventwsgi.command.talk import Control
    from geventwsgi.command.top import Table

#: Seconds between two looks at the server.
INTERVAL = 1.0
#: The bytes that a terminal sends for keys such as the arrows.
SEQUENCES = {
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[C": "right", b"\x1b[D": "left", b"\x1bOA": "up", b"\x1bOB": "down",
    b"\x1bOC": "right", b"\x1bOD": "left", b"\x1b": "escape", b"\r": "enter", b"\n": "enter",
}  # fmt: skip
#: Columns of a terminal that shows everything.
WIDE = 110
#: Number of lines beside the rows of the table: the title, the table's head, the keys.
FRAME = 3


def show(control: Control) -> None:
    """Show what a server does until a key ends that.

    :raises CommandError: the server cannot be reached at first, or the terminal cannot be drawn on.
    """
    console = Console(highlight=False)
    if console.is_dumb_terminal:
        raise CommandError(f"top cannot draw on this terminal (TERM={os.environ['TERM']}): use gwsgi status")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # it may have ASCII alone
    control.get("/status")
    top = Top(control)
    with _keys(sys.stdin.fileno()), Live(console=console, screen=True, auto_refresh=False) as live:
        due = 0.0
        while not top.over:
            now = time.monotonic()
            if now >= due:
                top.refresh()
                due = now + INTERVAL
            live.update(drawn(top.draw(narrow=console.width < WIDE), console.height), refresh=True)
            for key in read_keys(sys.stdin.fileno(), max(0.0, due - time.monotonic())):
                top.press(key)


def drawn(table: Table, height: int) -> RenderableType:
    """Return what rich draws: of a long table the part around the selected row."""
    parts: list[RenderableType] = [_line(table.title, "bold")]
    if table.head:
        parts.append(_grid(table, max(1, height - FRAME)))
    if table.text:
        parts.append(Text(table.text))
    parts.append(_line(table.keys, "dim"))
    return Group(*parts)


def _grid(table: Table, room: int) -> Grid:
    grid = Grid(box=None, expand=True, header_style="bold", pad_edge=False)
    for number, name in enumerate(table.head):
        wide = number >= len(table.head) - 2
        grid.add_column(Text(name), no_wrap=True, overflow="ellipsis", ratio=1 if wide else None)
    first = max(0, min(table.selected - room // 2, len(table.rows) - room))
    for number, row in enumerate(table.rows[first : first + room], first):
        grid.add_row(*map(Text, row), style="reverse" if number == table.selected else "")
    return grid


def _line(text: str, style: str) -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def read_keys(fd: int, seconds: float) -> list[str]:
    """Return the names of the keys that were pressed within a time, as soon as there are any."""
    if not select.select([fd], [], [], seconds)[0]:
        return []
    data = os.read(fd, 1024)
    found = []
    while data:
        sequence = next((known for known in SEQUENCES if data.startswith(known)), data[:1])
        found.append(SEQUENCES.get(sequence) or sequence.decode("ascii", "replace"))
        data = data[len(sequence) :]
    return found


@contextmanager
def _keys(fd: int) -> Iterator[None]:
    """Get each key when it is pressed, and show none."""
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
