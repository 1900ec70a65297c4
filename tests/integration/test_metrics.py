"""``/metrics`` of a real server: exact, whatever becomes of the workers, and readable by the official parsers."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from tests.support.client import Client
from tests.support.load import Load
from tests.support.observing import FLAGS, ask, observer_of
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

APP = "tests.support.apps.life:application"
GETS = ("gwsgi_requests_total", "2xx", "GET")


OPENMETRICS = {"Accept": "application/openmetrics-text"}
PROMETHEUS = {"Accept": "text/plain"}


def scrape(server):
    """Return all samples by name and labels."""
    return read(ask(server, "/metrics", headers=OPENMETRICS))


def read(answer):
    """Return the samples of an answer, as the official parser of its format reads it."""
    openmetrics = answer.headers["Content-Type"].startswith("application/openmetrics-text")
    parse = parse_openmetrics if openmetrics else parse_prometheus
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in parse(answer.text)
        for sample in family.samples
    }


def is_counter(key):
    return key[0].endswith(("_total", "_bucket", "_sum", "_count"))


class Scraper(threading.Thread):
    """Scrapes again and again, in both formats, and notes counters that have fallen."""

    def __init__(self, server):
        super().__init__()
        self.server = server
        self.over = threading.Event()
        self.fallen, self.seconds, self.failures = [], [], []
        self._before = {}

    def run(self):
        while not self.over.wait(0.05):
            began = time.monotonic()
            try:
                answer = ask(self.server, "/metrics", headers=PROMETHEUS if len(self.seconds) % 2 else OPENMETRICS)
                self.seconds.append(time.monotonic() - began)
                found = read(answer)
            except Exception as error:
                self.failures.append(error)
                return
            counters = {key: value for key, value in found.items() if is_counter(key)}
            self.fallen += [key for key, value in self._before.items() if counters.get(key, 0) < value]
            self._before = counters

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def check(self):
        assert self.failures == []
        assert self.fallen == []
        print(
            f"{len(self.seconds)} scrapes, {1000 * sorted(self.seconds)[len(self.seconds) // 2]:.1f} ms in the middle"
        )
        assert len(self.seconds) > 5


@pytest.mark.timeout(600)  # for --scraped-seconds
def test_no_count_falls_and_the_sum_is_what_the_clients_have_got(request, tmp_path):
    """Workers are replaced all the while, by max_requests and by a reload."""
    seconds = request.config.getoption("--scraped-seconds")
    flags = ("-w", "4", "--max-requests", "200", *FLAGS)
    with Gwsgi(*flags, app=APP, env={"TMPDIR": str(tmp_path)}, cwd=tmp_path) as server:
        with Scraper(server) as scraper, Load(server.url, rate=1000) as load:
            middle, end = time.monotonic() + seconds / 2, time.monotonic() + seconds
            wait_until(lambda: time.monotonic() > middle, seconds + 10)
            server.signal(signal.SIGHUP)
            replaced = ("gwsgi_worker_restarts_total", "max_requests")
            wait_until(lambda: time.monotonic() > end and scrape(server)[replaced], seconds + 30)
        load.check()
        scraper.check()
        print(f"{load.answered} requests, {len(server.ready_pids())} workers")
        server.wait_log("Reload: done", 30)
        wait_until(lambda: scrape(server)[GETS] >= load.answered)
        found = scrape(server)
        assert found[GETS] == found["gwsgi_request_duration_seconds_count",] == load.answered
        assert found["gwsgi_connections_accepted_total",] > 6
        assert found["gwsgi_worker_restarts_total", "reload"] in range(1, 5)
        assert found["gwsgi_reloads_total", "done"] == 1
        assert found["gwsgi_worker_restarts_total", "crash"] == 0
        assert [path for path in tmp_path.iterdir() if not path.name.startswith("gwsgi-")] == []


def test_killed_workers_take_no_count_along():
    with Gwsgi("-w", "2", *FLAGS, app=APP) as server, Scraper(server) as scraper:
        with Load(server.url, rate=400) as load:
            for killed in range(1, 3):
                load.wait_more(100)
                os.kill(server.ready_pids()[-1], signal.SIGKILL)
                wait_until(lambda n=killed: scrape(server)["gwsgi_worker_restarts_total", "crash"] == n)
                wait_until(lambda n=killed: len(server.ready_pids()) == 2 + n)
        # What was in flight at the kill may be counted although its client has got nothing of it.
        wait_until(lambda: scrape(server)[GETS] >= load.answered)
        assert load.answered <= scrape(server)[GETS] <= load.answered + len(load.failures)
    scraper.check()


def test_it_answers_while_workers_are_blocked_and_when_the_observer_was_killed():
    with Gwsgi(*FLAGS, app=APP) as server, socket.create_connection(server.address, 30) as client:
        client.sendall(b"GET /pid HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(999)
        client.sendall(b"GET /block?1.5 HTTP/1.1\r\nHost: a\r\n\r\n")
        os.kill(observer_of(server), signal.SIGKILL)
        server.wait_log("it is replaced")
        assert scrape(server)[GETS] == 1
        assert select.select([client], [], [], 0)[0] == [], "the worker was not blocked"
        assert client.recv(999)
        wait_until(lambda: scrape(server)["gwsgi_loop_lag_seconds_bucket", "+Inf"] > 0)
        found = scrape(server)
        assert found["gwsgi_loop_lag_seconds_bucket", "1.0"] < found["gwsgi_loop_lag_seconds_bucket", "+Inf"]


HOSTILE = b"A</script><b>\"'\\\x7f"


def test_hostile_requests_make_no_new_series():
    with Gwsgi(*FLAGS, app=APP) as server:
        before = set(scrape(server))
        for number in range(30):
            with socket.create_connection(server.address, 30) as client:
                client.sendall(b"M%d /%s HTTP/1.1\r\nHost: a\r\nX-Request-Start: %s\r\nUser-Agent: %s\r\n\r\n" % (
                    number, HOSTILE, HOSTILE, HOSTILE,
                ))  # fmt: skip
                client.recv(99)
        wait_until(
            lambda: (
                sum(scrape(server).get(("gwsgi_requests_total", s, "other"), 0) for s in ("2xx", "4xx", "5xx")) == 30
            )
        )
        new = set(scrape(server)) - before
        assert {key[0] for key in new} == {"gwsgi_requests_total"}
        assert len(new) <= 3


def test_refusals_timeouts_departures_and_the_time_before_us():
    flags = ("--header-timeout", "0.2", "--request-timeout", "0.2", *FLAGS)
    with Gwsgi(*flags, app=APP) as server, Client(server.url) as client:
        client.get("/pid", {"X-Request-Start": f"t={time.time() - 0.5:.3f}"})
        with socket.create_connection(server.address, 30) as slow:
            slow.sendall(b"GET / HT")
            assert b" 408 " in slow.recv(999)
        with socket.create_connection(server.address, 30) as wrong:
            wrong.sendall(b"GET\r\n\r\n")
            assert b" 400 " in wrong.recv(999)
        assert client.get("/sleep?5").status == 504

        def all_counted():
            found = scrape(server)
            expected = {
                ("gwsgi_requests_refused_total", "408"): 1,
                ("gwsgi_requests_refused_total", "400"): 1,
                ("gwsgi_timeouts_total", "header_timeout"): 1,
                ("gwsgi_timeouts_total", "request_timeout"): 1,
                ("gwsgi_requests_total", "5xx", "GET"): 1,
                ("gwsgi_requests_total", "4xx", "other"): 2,
                ("gwsgi_request_upstream_seconds_bucket", "0.25"): 0,
                ("gwsgi_request_upstream_seconds_count",): 1,
                ("gwsgi_connections_accepted_total",): 3,
            }
            return {key: found.get(key, 0) for key in expected} == expected

        wait_until(all_counted, message=lambda: repr(scrape(server)))


def test_requests_that_wait_for_their_turn():
    with Gwsgi("--worker-connections", "1", *FLAGS, app=APP) as server:
        with socket.create_connection(server.address, 30) as one, socket.create_connection(server.address, 30) as two:
            one.sendall(b"GET /sleep?0.5 HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: scrape(server)["gwsgi_requests_in_flight", "0"] == 1)
            two.sendall(b"GET /pid HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: scrape(server)["gwsgi_requests_queued", "0"] == 1)
            assert one.recv(999) and two.recv(999)
        wait_until(lambda: scrape(server)["gwsgi_request_queue_seconds_count",] == 1)
        assert scrape(server)["gwsgi_request_queue_seconds_bucket", "0.001"] == 0
