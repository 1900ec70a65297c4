"""What processes count in shared memory: exact, and never less than before."""

from __future__ import annotations

import os

import pytest

from geventwsgi.observe.tally import AT, CLASSES, DURATION, METHODS, QUEUE, UPSTREAM, Tallies

#: xdist's workers have a thread; the child does nothing that could wait for it.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def tallies():
    return Tallies(4, [0.1, 1, 10])


def test_requests_by_method_and_class_of_status(tallies):
    tally = tallies.of(0)
    for method, status in [("GET", 200), ("GET", 204), ("POST", 404), ("BREW", 599), ("get", 302), ("", 400)]:
        tally.request(method, status, 0, 5)
    tally.request("GET", 0, 0, 0)
    totals = tallies.totals()
    assert totals.requests() == {
        ("GET", "2xx"): 2, ("GET", "none"): 1, ("POST", "4xx"): 1,
        ("other", "5xx"): 1, ("other", "3xx"): 1, ("other", "4xx"): 1,
    }  # fmt: skip
    assert totals.counters("bytes_sent") == {"": 30}


@pytest.mark.parametrize("status", [0, 1, 99, 600, 999, 100_000])
def test_a_status_of_no_class_is_none(tallies, status):
    tallies.of(0).request("GET", status, 0, 0)
    assert tallies.totals().requests() == {("GET", "none"): 1}


def test_client_that_left_is_a_departure(tallies):
    tallies.of(0).request("GET", 499, 0, 0)
    assert tallies.totals().counters("departed") == {"": 1}


def test_durations_fall_into_the_first_bucket_that_holds_them(tallies):
    tally = tallies.of(0)
    for seconds in (0, 0.1, 0.1000001, 1, 9.5, 10.5, 100_000):
        tally.request("GET", 200, seconds, 0)
    numbers, seconds = tallies.totals().histogram(DURATION)
    assert numbers == [2, 4, 5, 7]
    assert seconds == pytest.approx(100_021.2000001)


def test_websocket_has_no_duration(tallies):
    tallies.of(0).request("GET", 101, 5000, 10)
    assert tallies.totals().histogram(DURATION) == ([0] * 4, 0)
    assert tallies.totals().requests() == {("GET", "1xx"): 1}


def test_clock_that_goes_back_takes_nothing_away(tallies):
    tallies.of(0).observe(QUEUE, -1)
    assert tallies.totals().histogram(QUEUE) == ([1] * 4, 0)


def test_block_goes_on_with_the_next_worker_of_its_slot_but_for_what_is_at_the_moment(tallies):
    tally = tallies.of(2)
    tally.request("GET", 200, 1, 1)
    tally.put("queued", 7)
    assert (tallies.gauge(2, "queued"), tallies.totals().gauge("queued")) == (7, 7)
    successor = tallies.of(2)
    successor.begin()
    successor.request("GET", 200, 1, 1)
    assert tallies.totals().requests() == {("GET", "2xx"): 2}
    assert tallies.gauge(2, "queued") == 0


def test_blocks_do_not_touch_each_other(tallies):
    for slot in range(4):
        tally = tallies.of(slot)
        for position, (family, value) in enumerate(AT):
            tally.add(family, value, position)
        for index in range(4):
            tally.observe(index, 1000)
        for method in METHODS:
            for first in range(len(CLASSES)):
                tally.request(method, first * 100, 0.5, 0)
    tallies.master.add("reloads", "done")
    totals = tallies.totals()
    assert set(totals.requests().values()) == {4}
    assert len(totals.requests()) == len(METHODS) * len(CLASSES)
    expected = {key: 4 * position + (key == ("reloads", "done")) for position, key in enumerate(AT)}
    assert {(family, value): totals.counters(family)[value] for family, value in AT} == expected
    assert totals.histogram(QUEUE)[0] == [0, 0, 0, 4]


def test_value_that_has_no_counter_is_another(tallies):
    tallies.of(0).add("refused", "418")
    assert tallies.totals().counters("refused")["other"] == 1


def test_what_a_killed_process_has_counted_stays(tallies):
    pid = os.fork()
    if pid == 0:
        tally = tallies.of(1)
        for _ in range(1000):
            tally.request("GET", 200, 0.5, 3)
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    totals = tallies.totals()
    assert totals.requests() == {("GET", "2xx"): 1000}
    assert totals.histogram(DURATION) == ([0, 1000, 1000, 1000], 500)


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    "field", ["t=1699999999.5", "1699999999.5", "t=1699999999500", "t=1699999999500000", " t=1699999999.5".strip()]
)
def test_time_in_a_balancer_in_seconds_milliseconds_and_microseconds(tallies, field):
    tallies.of(0).count_upstream(field, NOW)
    assert tallies.totals().histogram(UPSTREAM) == ([0, 1, 1, 1], 0.5)


@pytest.mark.parametrize(
    "field", ["", "t=", "yesterday", "nan", "inf", "-1e308", "t=1", "t=1e999", "9" * 400, None, b"t=1", "t=1700000100"]
)
def test_what_is_no_time_is_not_counted(tallies, field):
    tallies.of(0).count_upstream(field, NOW)
    assert tallies.totals().histogram(UPSTREAM) == ([0] * 4, 0)
