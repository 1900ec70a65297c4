"""Figures to medians, ratios and verdicts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.benchmarks.results import Measured, Results, Spread, best_peer, ratio, verdict, verdicts
from tests.benchmarks.rows import ROWS, TARGETS, Target
from tests.benchmarks.samples import load_turns, sample_results
from tests.benchmarks.servers import SERVERS


def test_a_figures_spread_is_its_median_least_and_most() -> None:
    assert sample_results().rows["tiny"].spread("ours", "us") == Spread(12, 10, 14)


def test_who_was_not_measured_has_no_spread() -> None:
    assert sample_results().rows["tiny"].spread("gunicorn", "us") is None


def test_a_ratio_is_that_of_the_medians_with_the_turns_in_pairs_around_it() -> None:
    found = ratio(sample_results().rows["tiny"], "ours", "bjoern", "us")
    assert found == Spread(12 / 12, 10 / 12, 12 / 11)


@pytest.mark.parametrize(("most", "met"), [(1.0, True), (0.99, False)])
def test_a_target_is_met_up_to_its_number(most: float, met: bool) -> None:
    target = Target("tiny", "ours", "bjoern", most)
    assert verdict(target, sample_results().rows["tiny"]).met is met


def test_a_target_without_its_peer_is_neither_met_nor_missed() -> None:
    assert verdict(Target("tiny", "ours", "gunicorn", 0.06), sample_results().rows["tiny"]).met is None


def test_an_absolute_target_is_compared_as_it_is() -> None:
    found = verdict(Target("idle", "ours", "", 1000), sample_results().rows["idle"])
    assert found.met
    assert found.found == Spread(985, 980, 990)


def test_the_best_peer_is_found_among_those_that_run_the_application() -> None:
    measured = sample_results().rows["upload"]
    measured.turns["nginx"] = load_turns(1)
    assert best_peer(measured, "us") == "granian"
    assert best_peer(Measured(), "us") == ""


def test_who_is_left_out_keeps_no_turns() -> None:
    measured = sample_results().rows["tiny"]
    measured.leave_out("bjoern", "it broke")
    assert "bjoern" not in measured.turns
    assert measured.left_out["bjoern"] == "it broke"


def test_verdicts_are_on_the_rows_measured() -> None:
    assert {found.target.row for found in verdicts(sample_results())} == {
        "tiny",
        "upload",
        "growth",
        "idle",
        "events-many",
    }


def test_saved_results_come_back_the_same(tmp_path) -> None:
    sample_results().save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == sample_results()


def test_rows_name_servers_that_exist() -> None:
    assert {name for row in ROWS for name in row.servers} <= SERVERS.keys()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.row}-{target.server}-{target.against}")
def test_both_sides_of_a_target_take_part_in_its_row(target: Target) -> None:
    row = next(row for row in ROWS if row.name == target.row)
    part = {name + variant for name in row.servers for variant in ("", *row.variants)}
    assert target.server in part
    assert replace(target, against=target.against or "ours").against in {*part, "best"}
