"""The page and the chart, from stored figures."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from tests.benchmarks.report import chart, headline, label, page, ranked, text
from tests.benchmarks.results import Results
from tests.benchmarks.samples import sample_results


def test_page_gives_each_target_with_its_outcome() -> None:
    lines = page(sample_results(), "chart.svg").splitlines()
    tiny = "tiny: GET, 2 bytes back, keep-alive"
    assert f"| {tiny} | geventwsgi | bjoern | 1.00 | 1.00 | 0.83 - 1.09 | met |" in lines
    assert f"| {tiny} | geventwsgi | nginx | 1.15 | 1.33 | 1.11 - 1.75 | **not met** |" in lines
    assert f"| {tiny} | geventwsgi | gunicorn -k gevent | 0.06 | not measured |  |  |" in lines


def test_page_names_the_best_peer() -> None:
    assert "| geventwsgi | the best peer (granian) | 1.00 | 0.83 | 0.83 - 0.83 | met |" in page(
        sample_results(), "c.svg"
    )


def test_page_has_bytes_as_they_are() -> None:
    assert "| geventwsgi | - | 1,000 | 985 | 980 - 990 | met |" in page(sample_results(), "c.svg")


def test_page_tells_when_the_last_subscriber_has_a_message() -> None:
    written = page(sample_results(), "c.svg")
    assert "| server | CPU per request | the last has it after |" in written
    assert "| geventwsgi | 6.0 us (6.0 - 6.0) | 80 ms |" in written
    assert "until the last has it | geventwsgi | Nchan (nginx) | 0.70 | 0.80 | 0.80 - 0.80 | **not met** |" in written


def test_page_has_a_row_for_each_server_cheapest_first() -> None:
    section = page(sample_results(), "c.svg").partition("## Tiny: GET")[2].partition("\n## ")[0]
    names = re.findall(r"^\| ([^|]+) \| [\d.]+ us", section, re.MULTILINE)
    assert names == [
        "nginx",
        "geventwsgi",
        "bjoern",
        "gevent StreamServer, parses nothing",
        "geventwsgi, plain Python",
    ]
    assert "| geventwsgi | 12.0 us (10.0 - 14.0) | 83,333 | 0.24 ms | 1.20 ms |" in section


def test_page_says_who_was_left_out_and_why() -> None:
    assert "Left out: gunicorn -k gevent (gunicorn is not installed)." in page(sample_results(), "c.svg")


def test_page_has_turns_machine_versions_and_the_chart() -> None:
    written = page(sample_results(), "c.svg")
    assert "3 turns of 3 s; 64 connections; 2026-01-31." in written
    assert "| CPU | A processor, 2 cores |" in written
    assert "| bjoern | 3.2.2 |" in written
    assert "(c.svg)" in written


def test_page_of_nothing_is_a_page() -> None:
    assert page(Results(), "c.svg").startswith("<!-- Written by")


def test_variants_are_told_apart() -> None:
    assert [label(name) for name in ranked(sample_results().rows["growth"], "us")] == [
        "geventwsgi",
        "geventwsgi, 10,000 open",
    ]


def test_chart_is_svg_with_a_bar_as_long_as_its_figure() -> None:
    root = ET.fromstring(chart(sample_results()))
    bars = [element for element in root.iter("{http://www.w3.org/2000/svg}rect") if element.get("x")]
    assert len(bars) == 5 + 4 + 2 + 2  # what is measured in bytes has no bar
    widths = [int(bar.get("width", "")) for bar in bars[:5]]
    assert widths == sorted(widths)
    assert abs(widths[0] * 23 / 9 - widths[-1]) <= 3


def test_the_headline_is_one_row_without_floors() -> None:
    results = sample_results()
    results.rows["headers"] = results.rows["tiny"]
    root = ET.fromstring(headline(results))
    labels = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text") if element.get("text-anchor")]
    assert labels == ["nginx", "geventwsgi", "bjoern"]


def test_text_has_rows_and_targets() -> None:
    written = text(sample_results())
    assert "left out: gunicorn is not installed" in written
    assert written.rstrip().endswith(" met |")
