"""Stored figures for the tests of what is made from figures."""

from __future__ import annotations

from tests.benchmarks.results import Measured, Results


def load_turns(*costs: float) -> list[dict[str, float]]:
    return [{"us": cost, "rate": 1e6 / cost, "p50": cost / 50, "p99": cost / 10} for cost in costs]


def sample_results() -> Results:
    tiny = Measured(
        {
            "ours": load_turns(14, 10, 12),
            "ours-plain": load_turns(24, 22, 23),
            "bjoern": load_turns(13, 12, 11),
            "nginx": load_turns(8, 9, 10),
            "streamserver": load_turns(20, 21, 22),
        },
        {"gunicorn": "gunicorn is not installed"},
        when="2026-01-31",
        seconds=3,
    )
    upload = Measured(
        {"ours": load_turns(200), "fastwsgi": load_turns(250), "waitress": load_turns(900), "granian": load_turns(240)},
        when="2026-01-31",
        seconds=3,
    )
    idle = Measured(
        {"ours": [{"bytes": 980.0}, {"bytes": 990.0}], "pywsgi": [{"bytes": 17000.0}] * 2}, when="2026-01-31"
    )
    growth = Measured({"ours": load_turns(10, 10), "ours+crowd": load_turns(14, 15)}, when="2026-01-31", seconds=3)
    many = Measured(
        {"ours": [{"us": 6.0, "last": 80.0}], "nchan": [{"us": 10.0, "last": 100.0}]}, when="2026-01-31", seconds=3
    )
    rows = {"tiny": tiny, "upload": upload, "growth": growth, "idle": idle, "events-many": many}
    return Results(rows, {"CPU": "A processor, 2 cores"}, {"bjoern": "3.2.2"})
