"""What ``gwsgi top`` shows and what its keys do. It knows the names of keys, and nothing else of terminals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from geventwsgi.command.talk import CommandError
from geventwsgi.command.texts import duration, place, size, stall_table, target
from geventwsgi.observe.outputs.escape import clean, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from geventwsgi.command.talk import Control

#: Requests that are fetched: the oldest ones.
MOST = 1000

Row = dict[str, Any]


class Column(NamedTuple):
    """A column of the table of requests.

    :param key: what rows are sorted by.
    :param text: what is shown, escaped.
    :param rare: whether a narrow terminal does without it.
    """

    name: str
    key: Callable[[Row], Any]
    text: Callable[[Row], str]
    rare: bool = False


def _end_of(place: str) -> str:
    """Return a place with the last two parts of its path: the line is what matters."""
    return "/".join(place.split("/")[-2:])


COLUMNS = (
    Column("AGE", lambda row: -row["age"], lambda row: duration(row["age"])),
    Column("WORKER", lambda row: row["worker"], lambda row: str(row["worker"])),
    Column("KIND", lambda row: row["kind"], lambda row: clean(row["kind"]), rare=True),
    Column("PHASE", lambda row: row["phase"], lambda row: clean(row["phase"])),
    Column("SENT", lambda row: -row["sent"], lambda row: size(row["sent"]), rare=True),
    Column("CLIENT", lambda row: row["client"], lambda row: escape(row["client"]) or "-", rare=True),
    Column("REQUEST", lambda row: row["path"], lambda row: f"{escape(row['method'])} {target(row)}"),
    Column("AT", lambda row: row["at"] or "", lambda row: _end_of(place(row["at"]))),
)
KEYS = "up/down select   left/right sort   r reverse   e end   enter stack   t stalls   q quit"
BACK = "q back"


class Table(NamedTuple):
    """What is to be drawn: a title, a table and a line of keys, or lines of text instead of a table."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    selected: int
    text: str
    keys: str


class Top:
    """The state of the view.

    :param control: the server's control socket.
    """

    def __init__(self, control: Control) -> None:
        self._control = control
        self._rows: list[Row] = []
        self._status: dict[str, Any] = {}
        self._blocked: list[str] = []
        #: The ``id`` of the selected request; the first if it has gone.
        self._chosen = ""
        self._column = 0
        self._reverse = False
        #: The stack that is shown instead of the table; whether the stalls are; the last message.
        self._stack = ""
        self._shows_stalls = False
        self._message = ""
        self.over = False

    def refresh(self) -> None:
        """Fetch what the server does now. A failure becomes the message."""
        try:
            found = self._control.get("/requests", limit=MOST)
            self._status = self._control.get("/status")
        except CommandError as error:
            self._message = str(error)
            return
        self._rows = found["requests"]
        self._blocked = [
            f"{one['pid']} {one['state']}{' at ' + clean(one['at']) if one.get('at') else ''}"
            for one in found["workers"]
            if one["state"] != "answers"
        ]

    def press(self, key: str) -> None:
        """Act on a key."""
        self._message = ""
        if self._stack or self._shows_stalls:
            if key in {"q", "escape", "enter", "t"}:
                self._stack, self._shows_stalls = "", False
            return
        if key in {"q", "escape"}:
            self.over = True
        elif key in {"up", "k", "down", "j"}:
            self._move(-1 if key in {"up", "k"} else 1)
        elif key in {"left", "right"}:
            self._column = (self._column + (1 if key == "right" else -1)) % len(COLUMNS)
        elif key == "r":
            self._reverse = not self._reverse
        elif key == "t":
            self._shows_stalls = True
        elif key in {"e", "enter"}:
            self._act(key)

    def _sorted(self) -> list[Row]:
        return sorted(self._rows, key=COLUMNS[self._column].key, reverse=self._reverse)

    def _selected(self, rows: Sequence[Row]) -> int:
        return next((number for number, row in enumerate(rows) if row["id"] == self._chosen), 0)

    def _move(self, by: int) -> None:
        rows = self._sorted()
        if rows:
            self._chosen = rows[min(max(0, self._selected(rows) + by), len(rows) - 1)]["id"]

    def _act(self, key: str) -> None:
        rows = self._sorted()
        if not rows:
            return
        row = rows[self._selected(rows)]
        try:
            if key == "e":
                self._message = clean(self._control.post("/end", id=row["id"]))
                self.refresh()
            else:
                self._stack = self._control.get("/stack", id=row["id"])["stack"]
        except CommandError as error:
            self._message = str(error)

    def draw(self, *, narrow: bool = False) -> Table:
        """Return what is to be drawn.

        :param narrow: without the columns that are :attr:`Column.rare`.
        """
        if self._stack:
            text = "\n".join(map(clean, self._stack.splitlines()))
            return Table("The stack of one request", (), [], -1, text, BACK)
        if self._shows_stalls:
            stalls, places = stall_table(self._status.get("stalls", []))
            text = "" if places else "No stall so far; they are looked for with stall_threshold."
            return Table("The worst stalls by place", stalls, places, -1, text, BACK)
        rows = self._sorted()
        columns = [column for column in COLUMNS if not (narrow and column.rare)]
        head = tuple(f"{column.name}{'*' if column is COLUMNS[self._column] else ''}" for column in columns)
        cells = [tuple(column.text(row) for column in columns) for row in rows]
        return Table(self._title(), head, cells, self._selected(rows), "", self._message or KEYS)

    def _title(self) -> str:
        master, workers = self._status.get("master", {}), self._status.get("workers", [])
        kinds = [row["kind"] for row in self._rows]
        count = f"{len(kinds)}{' oldest' if len(kinds) == MOST else ''}"
        parts = [
            f"gwsgi {master.get('pid', '-')} up {duration(master.get('uptime', 0))}",
            f"{len(workers)} workers",
            f"{count} requests, {kinds.count('held')} held, {kinds.count('websocket')} websockets",
            *self._blocked,
        ]
        return "   ".join(parts)
