"""Results to a page and a chart. Pure: values in, text out; what was measured, and how, is not its business."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from tests.benchmarks.results import UNITS, Measured, Results, Spread, Verdict, verdicts
from tests.benchmarks.rows import BEST, ROWS, Row
from tests.benchmarks.servers import SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """\
<!-- Written by tests/benchmarks/bench.py: measure again rather than change this page. -->

# Benchmarks

The cost of a request is the CPU time, user and system, of all processes of a server, divided by the number of requests
that it answered. The server has one worker, pinned to one core; the client ([wrk](https://github.com/wg/wrk) if it can
do the row) has another core. Servers take turns, each turn with a new process. The figures are medians, with the
minimum and the maximum of the turns in parentheses. Each server runs with its defaults, its access log off, and the
same application. Before each turn its response is checked: status, body, and chunks or closing if the row needs them.
Starts are measured in an environment with only the server and its dependencies.

`tox -e bench` in a clone measures on your machine and writes this page; `tox -e bench -- --help` shows how to measure
a part. It needs Linux and wrk. bjoern needs a C compiler and libev's headers, the floor needs a C compiler, and nginx
comes from the system; ws needs Node.js and npm, Nchan libnginx-mod-nchan. Missing servers are left out, by name.

The cost of a WebSocket message is measured in the same way: a client keeps one message under way on each connection.
That of a server-sent event is the server's CPU for one message to all subscribers, divided by their number.
"""

NAMES = {
    "us": "CPU per request",
    "bytes": "private bytes per connection",
    "ms": "time",
}
#: The row that stands for all on the start page.
HEADLINE = "headers"
LOAD = (("requests/s", "rate", "{:,.0f}"), ("p50", "p50", "{:.2f} ms"), ("p99", "p99", "{:.2f} ms"))
#: Instead of those, where messages are published.
PUBLISHED = (("the last has it after", "last", "{:,.0f} ms"),)
SHAPES = {"us": "{:.1f} us", "bytes": "{:,.0f}", "ms": "{:.0f} ms"}
TITLES = {row.name: row.title for row in ROWS}
VARIANTS = {"log": "access log on", "crowd": "10,000 open"}


def page(results: Results, chart_name: str) -> str:
    """Return the page, in Markdown.

    :param chart_name: the chart's file, beside the page.
    """
    parts = [
        HEAD,
        _section("Targets", _targets(results)),
        f"\n## Chart\n\n![CPU per request by row and server]({chart_name})\n",
        *(_row_section(row, results.rows[row.name]) for row in ROWS if row.name in results.rows),
        _section("Machine and versions", _facts({**results.machine, **results.versions})),
    ]
    return "".join(parts)


def _section(title: str, lines: list[str]) -> str:
    return f"\n## {title}\n\n" + "".join(f"{line}\n" for line in lines)


def label(contender: str) -> str:
    """Return a contender's name as readers know it."""
    name, _, variant = contender.partition("+")
    return SERVERS[name].title + (f", {VARIANTS[variant]}" if variant else "")


# --- targets


def _targets(results: Results) -> list[str]:
    rows = ["| row | server | against | at most | found | turn by turn | |", "|---|---|---|---|---|---|---|"]
    return [*rows, *map(target_line, verdicts(results))]


def target_line(verdict: Verdict) -> str:
    """Return a target's line in the table."""
    target, found = verdict.target, verdict.found
    against = label(verdict.against) if verdict.against else "-"
    if target.against == BEST:
        against = f"the best peer ({against})"
    shape = "{:.2f}" if verdict.target.against else "{:,.0f}"
    title = TITLES[target.row] + (": until the last has it" if target.figure == "last" else "")
    cells = [title, label(target.server), against, shape.format(target.most)]
    if found is None:
        return _line(*cells, "not measured", "", "")
    outcome = "met" if verdict.met else "**not met**"
    return _line(*cells, shape.format(found.median), f"{_range(shape, found)}", outcome)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _range(shape: str, spread: Spread) -> str:
    return f"{shape.format(spread.least)} - {shape.format(spread.most)}"


# --- rows


def _row_section(row: Row, measured: Measured) -> str:
    unit = UNITS[row.name]
    extra = _extra(row)
    head = ["server", NAMES[unit], *(title for title, _, _ in extra)]
    lines = [_line(*head), "|---" * len(head) + "|"]
    lines += [_line(label(name), *_cells(row, measured, name)) for name in ranked(measured, unit)]
    lines += [f"\nLeft out: {label(name)} ({reason})." for name, reason in measured.left_out.items()]
    turns = max((len(turns) for turns in measured.turns.values()), default=0)
    length = f" of {measured.seconds} s" if unit == "us" else ""
    amount = "" if unit == "ms" else f"; {row.connections:,} connections"
    lines.append(f"\n{turns} turn{'s' * (turns != 1)}{length}{amount}; {measured.when}.")
    return _section(row.title[0].upper() + row.title[1:], lines)


def _extra(row: Row) -> tuple[tuple[str, str, str], ...]:
    """Return what is told of a row beside its main figure: a title, the figure and its shape, each time."""
    if row.kind == "publish":
        return PUBLISHED
    return LOAD if row.unit == "us" else ()


def _cells(row: Row, measured: Measured, name: str) -> Iterator[str]:
    unit = row.unit
    main = measured.spread(name, unit)
    if main:
        yield f"{SHAPES[unit].format(main.median)} ({_range(SHAPES[unit], main).replace(' us', '').replace(' ms', '')})"
    for _, figure, shape in _extra(row):
        spread = measured.spread(name, figure)
        yield shape.format(spread.median) if spread else ""


def ranked(measured: Measured, unit: str) -> list[str]:
    """Return the contenders of a row, cheapest first."""
    medians = {name: spread.median for name in measured.turns if (spread := measured.spread(name, unit))}
    return sorted(medians, key=lambda name: medians[name])


def _facts(facts: dict[str, str]) -> list[str]:
    return ["| | |", "|---|---|", *(_line(name, text) for name, text in facts.items())]


def text(results: Results) -> str:
    """Return the tables for a terminal: each row, then the targets."""
    lines = []
    for row in ROWS:
        if row.name not in results.rows:
            continue
        measured = results.rows[row.name]
        lines.append(f"\n{row.title}")
        for name in ranked(measured, row.unit):
            cells = "".join(f"{cell:>26}" for cell in _cells(row, measured, name))
            lines += [f"  {label(name):40}{cells}"]
        lines += [f"  {label(name):42} left out: {reason}" for name, reason in measured.left_out.items()]
    lines += ["", *(target_line(verdict).replace("**", "") for verdict in verdicts(results))]
    return "\n".join(lines)


# --- chart

WIDTH, LABEL, BAR, GAP, TITLE = 880, 290, 15, 5, 34
FONT = 'font-family="sans-serif" font-size="12"'
OURS_COLOUR, FLOOR_COLOUR, PEER_COLOUR = "#2f6f4f", "#b5b5b5", "#7d93b8"


def chart(results: Results) -> str:
    """Return bars of the CPU per request, row by row, each row on its own scale, as SVG."""
    parts, top = [], 0
    for row in ROWS:
        if row.unit == "us" and row.name in results.rows:
            drawn, top = _bars(row, results.rows[row.name], top)
            parts += drawn
    return _drawing(parts, top)


def headline(results: Results) -> str:
    """Return the bars that the start page shows: a browser's request in what people may install; as SVG."""
    (row,) = (row for row in ROWS if row.name == HEADLINE)
    measured = results.rows.get(HEADLINE, Measured())
    shown = {name: turns for name, turns in measured.turns.items() if name in ("ours", "nginx") or SERVERS[name].peer}
    return _drawing(*_bars(row, Measured(shown), 0))


def _drawing(parts: list[str], top: int) -> str:
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" {FONT}>',
            f'<rect width="{WIDTH}" height="{top}" fill="white"/>',
            *parts,
            "</svg>\n",
        )
    )


def _bars(row: Row, measured: Measured, top: int) -> tuple[list[str], int]:
    parts = [f'<text x="0" y="{top + 22}" font-weight="bold">{escape(row.title)}: us of CPU per request</text>']
    top += TITLE
    names = ranked(measured, row.unit)
    spreads = {name: measured.spread(name, row.unit) for name in names}
    scale = (WIDTH - LABEL - 70) / max((spread.median for spread in spreads.values() if spread), default=1)
    for name, spread in spreads.items():
        if spread:
            parts.append(_bar(name, spread.median, scale, top))
            top += BAR + GAP
    return parts, top + GAP


def _bar(name: str, value: float, scale: float, top: int) -> str:
    width, base = max(1, round(value * scale)), top + BAR - 3
    return (
        f'<text x="{LABEL - 8}" y="{base}" text-anchor="end">{escape(label(name))}</text>'
        f'<rect x="{LABEL}" y="{top}" width="{width}" height="{BAR}" fill="{_colour(name)}"/>'
        f'<text x="{LABEL + width + 6}" y="{base}">{value:,.1f}</text>'
    )


def _colour(contender: str) -> str:
    name = contender.partition("+")[0]
    if name.startswith(("ours", "before")):
        return OURS_COLOUR
    return PEER_COLOUR if SERVERS[name].peer else FLOOR_COLOUR
