"""The names of what is counted."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from geventwsgi.config.sources import Config
from geventwsgi.observe.tally import LAG, QUEUE, Tallies
from geventwsgi.observer.exposition import OPENMETRICS, exposition
from geventwsgi.observer.metrics import families
from geventwsgi.observer.view import View
from geventwsgi.system.shared import SharedSlots


def read(slots, tallies):
    view = View(os.getpid(), 0, Config.of(), [], slots, lambda _: None, "", tallies)
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(exposition(families(view, tallies), OPENMETRICS))
        for sample in family.samples
    }


def test_server_that_has_done_something():
    slots, tallies = SharedSlots(4), Tallies(4, [0.1, 1])
    slots.take()
    slot = slots.take()
    slot.introduce(os.getpid(), 2, time.monotonic_ns(), "ready")
    slot.count(3, 8)
    tally = tallies.of(slot.index)
    tally.request("GET", 200, 0.5, 40)
    tally.request("PROPFIND", 499, 0.5, 0)
    tally.observe(QUEUE, 0.01)
    tally.observe(LAG, 5)
    tally.received(70)
    tally.add("refused", "408")
    tally.add("timeouts", "header_timeout")
    tally.add("accepted", "", 9)
    for gauge, number in {"queued": 2, "held": 2, "websockets": 1, "greenlets": 4}.items():
        tally.put(gauge, number)
    tally.add("messages", "missed", 7)
    tallies.master.put("backlog", 6)
    tallies.master.add("restarts", "max_requests")
    tallies.master.add("reloads", "failed")
    found = read(slots, tallies)
    expected = {
        ("gwsgi_requests_total", "2xx", "GET"): 1,
        ("gwsgi_requests_total", "4xx", "other"): 1,
        ("gwsgi_response_bytes_total",): 40,
        ("gwsgi_request_bytes_total",): 70,
        ("gwsgi_departures_total",): 1,
        ("gwsgi_request_duration_seconds_sum",): 1,
        ("gwsgi_request_duration_seconds_bucket", "0.1"): 0,
        ("gwsgi_request_duration_seconds_bucket", "1.0"): 2,
        ("gwsgi_request_queue_seconds_count",): 1,
        ("gwsgi_loop_lag_seconds_bucket", "1.0"): 0,
        ("gwsgi_loop_lag_seconds_bucket", "+Inf"): 1,
        ("gwsgi_requests_refused_total", "408"): 1,
        ("gwsgi_timeouts_total", "header_timeout"): 1,
        ("gwsgi_timeouts_total", "keepalive"): 0,
        ("gwsgi_connections_accepted_total",): 9,
        ("gwsgi_worker_restarts_total", "max_requests"): 1,
        ("gwsgi_reloads_total", "failed"): 1,
        ("gwsgi_backlog_connections",): 6,
        ("gwsgi_workers", "ready"): 1,
        ("gwsgi_workers", "leaving"): 0,
        ("gwsgi_requests_in_flight", "1"): 3,
        ("gwsgi_requests_queued", "1"): 2,
        ("gwsgi_connections", "1", "active"): 3,
        ("gwsgi_connections", "1", "held"): 2,
        ("gwsgi_connections", "1", "websocket"): 1,
        ("gwsgi_connections", "1", "lingering"): 0,
        ("gwsgi_connections", "1", "idle"): 2,
        ("gwsgi_greenlets", "1"): 4,
        ("gwsgi_channel_messages_total", "missed"): 7,
    }
    assert {key: found.get(key) for key in expected} == expected
    for worker, process in (("", "master"), ("", "observer"), ("1", "worker")):
        assert found["gwsgi_process_resident_memory_bytes", worker, process] > 1 << 20
        assert found["gwsgi_process_proportional_memory_bytes", worker, process] > 1 << 20
        assert found["gwsgi_process_open_fds", worker, process] > 2


def test_connections_whose_request_waits_for_its_client_are_not_idle():
    slots, tallies = SharedSlots(4), Tallies(4, [1])
    slot = slots.take()
    slot.introduce(os.getpid(), 2, 0, "ready")
    slot.count(1, 8)
    tallies.of(slot.index).put("busy", 5)
    found = read(slots, tallies)
    assert [found["gwsgi_connections", "0", state] for state in ("active", "idle")] == [5, 3]


def test_process_of_which_the_system_tells_nothing_is_left_out():
    slots = SharedSlots(4)
    slots.take().introduce(2**30, 2, 0, "leaving")
    found = read(slots, Tallies(4, [1]))
    assert not any(key[1:] == ("0", "worker") for key in found)
    assert found["gwsgi_workers", "leaving"] == 1


def test_the_page_of_the_documentation_names_every_metric():
    page = (Path(__file__).parents[2] / "docs" / "observing.md").read_text(encoding="utf-8")
    table = page.partition("| metric | labels |")[2].partition("\n\n")[0]
    names = {name for line in table.splitlines()[2:] for name in re.findall(r"`(gwsgi_\w+)`", line.split("|")[1])}
    view = View(os.getpid(), 0, Config.of(), [], SharedSlots(4), lambda _: None, "")
    suffixes = {"counter": "_total", "info": "_info"}
    assert names == {family.name + suffixes.get(family.kind, "") for family in families(view, Tallies(4, [1]))}
