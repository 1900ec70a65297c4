from __future__ import annotations

import os
import socket
from datetime import timedelta

import pytest

from geventwsgi.errors import ConfigError
from geventwsgi.observe.gauges import backlog, report_backlog, report_workers
from geventwsgi.observe.outputs.sinks import Losses
from geventwsgi.observe.outputs.statsd import Statsd
from geventwsgi.observe.recorder import recorder


@pytest.fixture
def agent(make_agent):
    return make_agent()


@pytest.fixture
def make_log(agent, make_logger):
    def make(**given):
        return make_logger(**{"statsd_host": ("127.0.0.1", agent.port), "errorlog": None, **given})

    return make


def test_a_request_is_counted_timed_and_counted_by_status(agent, make_log, request_record):
    log = make_log()
    assert log.access_enabled and not log.access_log_enabled
    recorder(log)(request_record(status="404 Not Found", duration=0.25))
    assert agent.receive().splitlines() == [
        "gunicorn.request.duration:250.0|ms",
        "gunicorn.requests:1|c|@1.0",
        "gunicorn.request.status.404:1|c|@1.0",
    ]


def test_gunicorns_way_of_logging_access_counts_too(agent, make_log, request_record):
    record = request_record()
    make_log().access(record.resp, record.req, record.environ, timedelta(days=1, milliseconds=1))
    assert agent.receive().startswith("gunicorn.request.duration:86400001.0|ms\n")


def test_a_request_without_a_status_is_counted_all_the_same(agent, make_log, request_record):
    make_log().record(request_record(status=None))
    assert agent.receive().endswith("gunicorn.requests:1|c|@1.0")


def test_lines_and_metrics_go_together(agent, make_log, request_record, tmp_path):
    log = make_log(accesslog=str(tmp_path / "access"))
    log.record(request_record())
    assert "gunicorn.requests" in agent.receive()
    assert "GET /a%20b" in (tmp_path / "access").read_text()


@pytest.mark.parametrize("prefix", ["shop", "shop.", "shop..."])
def test_prefix_and_tags_go_around_each_metric(prefix, agent, make_log, request_record):
    log = make_log(statsd_prefix=prefix, dogstatsd_tags="env:prod,az:1")
    log.record(request_record())
    lines = agent.receive().splitlines()
    assert len(lines) == 3
    assert all(line.startswith("shop.gunicorn.") and line.endswith("|#env:prod,az:1") for line in lines)


@pytest.mark.parametrize("level", ["critical", "error", "warning"])
def test_messages_are_counted_by_level(level, agent, make_log):
    getattr(make_log(), level)("x")
    assert agent.receive() == f"gunicorn.log.{level}:1|c|@1.0"


def test_exceptions_are_counted_apart(agent, make_log):
    log = make_log()
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
    assert agent.receive() == "gunicorn.log.exception:1|c|@1.0"
    assert agent.silent()


def test_ordinary_messages_are_not_counted(agent, make_log):
    log = make_log(loglevel="debug")
    log.info("x")
    log.debug("x")
    log.log("warning", "x")
    assert agent.silent()


@pytest.mark.parametrize(
    ("mtype", "expected"), [("gauge", "g"), ("counter", "c|@1.0"), ("histogram", "h"), ("timer", "ms")]
)
def test_a_message_may_carry_a_metric_whatever_its_level(mtype, expected, agent, make_log):
    make_log().debug("", extra={"metric": "my.metric", "value": 0, "mtype": mtype})
    assert agent.receive() == f"my.metric:0|{expected}"


def test_a_message_with_a_metric_is_logged_too_unless_it_is_empty(agent, make_log, tmp_path):
    log = make_log(errorlog=str(tmp_path / "log"))
    metric = {"metric": "m", "value": 1, "mtype": "gauge"}
    log.info("something to say", extra=metric)
    log.info("", extra=metric)
    assert [agent.receive(), agent.receive()] == ["m:1|g"] * 2
    assert len((tmp_path / "log").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"other": 1},
        {"metric": "m", "value": 1},
        {"metric": "m", "value": 1, "mtype": "set"},
        {"metric": "m", "value": None, "mtype": "gauge"},
        {"metric": "", "value": 1, "mtype": "gauge"},
    ],
)
def test_what_is_no_metric_is_not_sent(extra, agent, make_log):
    make_log().info("x", extra=extra)
    assert agent.silent()


def test_metrics_of_ones_own(agent, make_log):
    statsd = make_log().statsd
    statsd.gauge("g", 1.5)
    statsd.increment("i")
    statsd.increment("i", 2, 0.5)
    statsd.decrement("d", 3)
    statsd.timer("t", 4)
    statsd.histogram("h", 5)
    received = [agent.receive() for _ in range(6)]
    assert received == ["g:1.5|g", "i:1|c|@1.0", "i:2|c|@0.5", "d:-3|c|@1.0", "t:4|ms", "h:5|h"]


def test_unix_datagrams(make_agent, make_logger, tmp_path):
    path = str(tmp_path / "statsd")
    agent = make_agent(socket.AF_UNIX, socket.SOCK_DGRAM, path)
    make_logger(statsd_host=str(path), errorlog=None).warning("x")
    assert agent.receive() == "gunicorn.log.warning:1|c|@1.0"


def test_an_agent_that_is_away_costs_one_line(make_logger, tmp_path):
    log = make_logger(statsd_host=str(tmp_path / "none"), errorlog=str(tmp_path / "log"))
    for _ in range(5):
        log.error("something")
    lines = (tmp_path / "log").read_text().splitlines()
    assert sum("statsd" in line for line in lines) == 1
    assert "[WARNING] statsd" in lines[1] and "No such file or directory" in lines[1]


@pytest.mark.parametrize("host", ["stats..internal", "x" * 64])
def test_what_cannot_be_a_hosts_name_is_told_with_its_setting(make_logger, host):
    with pytest.raises(ConfigError, match=f"^statsd_host \\('{host}', 8125\\): .*label"):
        make_logger(statsd_host=(host, 8125), errorlog=None)


def test_a_new_setup_closes_the_old_socket(agent, make_log, settings):
    log = make_log()
    old = log.statsd
    log.setup(settings(errorlog=None))
    assert log.statsd is None
    old.gauge("x", 1)
    assert agent.silent()
    log.error("not counted")


def test_text_of_any_kind_is_sent(agent):
    statsd = Statsd(("127.0.0.1", agent.port), "", "", Losses("statsd"))
    statsd.gauge("é\ud800", 1)
    assert agent.receive() == "é\\ud800:1|g"
    statsd.close()


# --- what the master reports


def test_the_number_of_workers_is_a_gauge(agent, make_log):
    report_workers(make_log(), 4)
    assert agent.receive() == "gunicorn.workers:4|g"


def test_the_backlog_counts_connections_that_wait(agent, make_log, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "unix"))
        unix.listen()
        assert backlog(tcp) == 0
        clients = [socket.create_connection(tcp.getsockname()) for _ in range(3)]
        assert backlog(tcp) == 3
        assert backlog(unix) is None
        report_backlog(make_log(), [tcp, unix])
        for client in clients:
            client.close()
        assert agent.receive() == "gunicorn.backlog:3|h"
        report_backlog(make_log(), [unix])
        assert agent.silent()


def test_no_backlog_is_told_where_the_system_does_not(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        assert backlog(tcp) is None


def test_reports_are_messages_of_a_logger_without_statsd(make_logger, tmp_path):
    log = make_logger(errorlog=str(tmp_path / "log"), loglevel="debug")
    report_workers(log, 2)
    assert f"[{os.getpid()}] [DEBUG] 2 workers" in (tmp_path / "log").read_text()
