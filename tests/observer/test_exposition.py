"""Metrics as text, read by the official parsers."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from geventwsgi.observer.exposition import OPENMETRICS, PROMETHEUS, Family, Sample, exposition, histogram, preferred

PARSERS = {OPENMETRICS: parse_openmetrics, PROMETHEUS: parse_prometheus}
HOSTILE = 'a"b\\c\nd} 5\n# EOF\né\x00'


def samples(families, content_type):
    text = exposition(families, content_type)
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in PARSERS[content_type](text)
        for sample in family.samples
    }


@pytest.mark.parametrize("content_type", PARSERS)
def test_what_is_written_is_what_is_read(content_type):
    families = [
        Family("a_requests", "counter", "Help.", [Sample(2**53, {"method": "GET", "status": "2xx"}), Sample(0)]),
        Family("a_memory_bytes", "gauge", 'With "quotes", a \\ and a\nnewline.', [Sample(1.5, {"process": HOSTILE})]),
        Family("a_build", "info", "The server.", [Sample(1, {"version": "1"})]),
        histogram("a_wait_seconds", "Wait.", [0.1, 1.0], [3, 3, 4], 1.5),
        Family("a_empty", "gauge", "Nothing.", []),
    ]
    assert samples(families, content_type) == {
        ("a_requests_total", ("method", "GET"), ("status", "2xx")): 2**53,
        ("a_requests_total",): 0,
        ("a_memory_bytes", ("process", HOSTILE)): 1.5,
        ("a_build_info", ("version", "1")): 1,
        ("a_wait_seconds_bucket", ("le", "0.1")): 3,
        ("a_wait_seconds_bucket", ("le", "1.0")): 3,
        ("a_wait_seconds_bucket", ("le", "+Inf")): 4,
        ("a_wait_seconds_sum",): 1.5,
        ("a_wait_seconds_count",): 4,
    }


def test_only_openmetrics_has_an_end():
    assert exposition([], OPENMETRICS) == "# EOF\n"
    assert exposition([], PROMETHEUS) == ""


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", PROMETHEUS),
        ("*/*", PROMETHEUS),
        ("text/html,application/xhtml+xml,*/*;q=0.8", PROMETHEUS),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text; version=1.0.0", OPENMETRICS),
        # As Prometheus 2 and 3 ask.
        ("application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OPENMETRICS),
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", PROMETHEUS),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.5", PROMETHEUS),
        ("application/openmetrics-text;q=0", PROMETHEUS),
        ("application/openmetrics-text;q=hostile", PROMETHEUS),
        ("application/openmetrics-text;q=nan", PROMETHEUS),
        (",;,=;q", PROMETHEUS),
    ],
)
def test_the_format_that_the_client_prefers(accept, content_type):
    assert preferred(accept) == content_type
