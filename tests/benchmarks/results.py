"""What was measured, as values, and the file that keeps it; pure but for reading and writing that file."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from tests.benchmarks.rows import BEST, ROWS, TARGETS, Target
from tests.benchmarks.servers import SERVERS

if TYPE_CHECKING:
    from pathlib import Path

UNITS = {row.name: row.unit for row in ROWS}


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the greatest."""

    median: float
    least: float
    most: float


@dataclass(slots=True)
class Measured:
    """A row's figures: for each contender one mapping a turn, or the reason why it was left out."""

    turns: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    when: str = ""
    seconds: int = 0

    def spread(self, contender: str, figure: str) -> Spread | None:
        """Return a figure's spread over the turns, or None if it was not measured."""
        values = [turn[figure] for turn in self.turns.get(contender, ()) if figure in turn]
        return Spread(statistics.median(values), min(values), max(values)) if values else None

    def leave_out(self, contender: str, reason: str) -> None:
        """Forget a contender's turns."""
        self.turns.pop(contender, None)
        self.left_out[contender] = reason


@dataclass(slots=True)
class Results:
    """Everything that a report is made from."""

    rows: dict[str, Measured] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what :meth:`save` wrote."""
        kept = json.loads(path.read_text())
        rows = {name: Measured(**measured) for name, measured in kept["rows"].items()}
        return cls(rows, kept["machine"], kept["versions"])

    def save(self, path: Path) -> None:
        """Write everything to a file."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a target: the two servers, and the ratio (or the figure itself); None where one is missing."""

    target: Target
    against: str
    found: Spread | None

    @property
    def met(self) -> bool | None:
        """The figure is low enough; None if it was not measured."""
        return None if self.found is None else self.found.median <= self.target.most


def verdicts(results: Results) -> list[Verdict]:
    """Return a verdict on each target of the rows that were measured."""
    return [verdict(target, results.rows[target.row]) for target in TARGETS if target.row in results.rows]


def verdict(target: Target, measured: Measured) -> Verdict:
    """Return the verdict on one target."""
    unit = target.figure or UNITS[target.row]
    against = best_peer(measured, unit) if target.against == BEST else target.against
    if not target.against:
        return Verdict(target, "", measured.spread(target.server, unit))
    return Verdict(target, against, ratio(measured, target.server, against, unit))


def best_peer(measured: Measured, unit: str) -> str:
    """Return the peer with the lowest median, or nothing if there is none."""
    spreads = {name: measured.spread(name, unit) for name, server in SERVERS.items() if server.peer}
    medians = {name: spread.median for name, spread in spreads.items() if spread}
    return min(medians, key=lambda name: medians[name], default="")


def ratio(measured: Measured, server: str, against: str, figure: str) -> Spread | None:
    """Return the ratio of two contenders' medians, with the least and the greatest of the ratios turn by turn."""
    ours, theirs = measured.spread(server, figure), measured.spread(against, figure)
    if ours is None or theirs is None:
        return None
    pairs = zip(measured.turns[server], measured.turns[against], strict=False)
    each = [mine[figure] / other[figure] for mine, other in pairs]
    return Spread(ours.median / theirs.median, min(each), max(each))
