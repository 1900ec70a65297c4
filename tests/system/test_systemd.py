"""What systemd passes, and what it is told, on a real datagram socket."""

from __future__ import annotations

import logging
import os
import time

import pytest

from geventwsgi.config.sources import Config
from geventwsgi.errors import ConfigError
from geventwsgi.system.systemd import Activation, Passed, Systemd, take_sockets
from tests.support.systemd import NotifySocket

# Sockets


def test_passed_sockets_are_taken_once_with_their_names():
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:admin", "A": "1"}
    assert take_sockets(environ) == [Passed(3, "web"), Passed(4, "admin")]
    assert environ == {"A": "1"}
    assert take_sockets(environ) == []


def test_sockets_without_names_are_taken():
    assert take_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}) == [Passed(3, "")]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": "x", "LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid())},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "-1"},
    ],
)
def test_sockets_for_another_process_or_none_are_not_taken(environ):
    assert take_sockets(environ) == []
    assert environ == {}


def test_passed_sockets_stand_in_for_bind_at_every_reading(caplog):
    read = Activation(lambda: Config.of(bind="127.0.0.1:1", workers=3), [Passed(3, "web"), Passed(4, "")])
    for _ in range(2):
        assert (read().bind, read().workers) == (["fd://3", "fd://4"], 3)
    with caplog.at_level("INFO"):
        read.tell(logging.getLogger("test.systemd"))
    assert "fd 3 (web)" in caplog.text
    assert "fd 4 (no name)" in caplog.text


def test_without_passed_sockets_bind_stays():
    assert Activation(lambda: Config.of(bind="127.0.0.1:1"), [])().bind == ["127.0.0.1:1"]


def test_a_wrong_configuration_is_told_as_ever():
    with pytest.raises(ConfigError, match="bnid"):
        Activation(lambda: Config.of(bnid="x"), [Passed(3, "")])()


# States


@pytest.fixture(params=["path", "abstract"])
def heard(request, tmp_path):
    name = f"@gwsgi-test-{os.getpid()}-{time.monotonic_ns()}" if request.param == "abstract" else tmp_path / "notify"
    with NotifySocket(name) as notify:
        yield notify


def make(heard, **environ):
    return Systemd({"NOTIFY_SOCKET": heard.path, **environ})


def look(systemd, now=0.0, serving=2, wanted=2, *, busy=False):
    systemd.look(now, serving=serving, wanted=wanted, busy=busy)


def test_ready_is_told_once_when_all_workers_serve(heard):
    systemd = make(heard)
    look(systemd, serving=0)
    look(systemd, serving=1)
    assert not any(field.startswith("READY") for field in heard.fields)
    look(systemd)
    look(systemd)
    assert heard.fields.count("READY=1") == 1
    assert heard.wait("READY=1") == ["READY=1", f"MAINPID={os.getpid()}"]
    statuses = [field for field in heard.fields if field.startswith("STATUS=")]
    assert statuses == [f"STATUS=Serving: {n} of 2 workers are ready" for n in (0, 1, 2)]


def test_reload_is_told_with_its_time_and_ends_with_ready(heard):
    systemd = make(heard)
    look(systemd)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    systemd.reloading()
    systemd.reloading()  # a second HUP while the first is under way
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    look(systemd, busy=True)
    name, _, value = heard.wait("RELOADING=1")[1].partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= after
    assert heard.fields.count("RELOADING=1") == 1
    assert heard.fields.count("READY=1") == 1
    assert heard.fields[-1].startswith("STATUS=Reloading")
    look(systemd)
    heard.wait("READY=1", count=2)


def test_stopping_is_told_once_and_nothing_but_the_watchdog_follows(heard):
    systemd = make(heard, WATCHDOG_USEC="2000000")
    look(systemd)
    systemd.leaving()
    systemd.stopping()
    systemd.stopping()
    heard.heard()
    look(systemd, now=10, serving=0)
    assert heard.fields.count("STOPPING=1") == 1
    assert heard.fields[-1] == "WATCHDOG=1"
    assert "STATUS=Draining: health_path answers 503" in heard.fields


def test_a_successor_becomes_the_main_process(heard):
    systemd = make(heard)
    systemd.stopping(successor=4711)
    assert "MAINPID=4711" in heard.fields
    assert "STOPPING=1" not in heard.fields


def test_failure_is_told_in_one_line(heard):
    make(heard).failed(4, "no module\nnamed x")
    assert heard.fields == ["STATUS=Failed with status 4: no module named x"]


def test_watchdog_is_fed_twice_in_its_time(heard):
    systemd = make(heard, WATCHDOG_USEC="3000000", WATCHDOG_PID=str(os.getpid()))
    for now in (0.0, 0.5, 1.4, 1.5, 2.9, 3.0):
        look(systemd, now=now)
    assert heard.fields.count("WATCHDOG=1") == 3
    assert systemd.nap(3.5) == 1.0
    assert systemd.nap(9.0) == 0.0


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}])
def test_no_watchdog_of_ours_is_not_fed(heard, environ):
    systemd = make(heard, **environ)
    look(systemd)
    assert "WATCHDOG=1" not in heard.fields
    assert systemd.nap(0) is None


def test_variables_are_taken_out_of_the_environment_and_kept_for_a_successor(heard):
    environ = {"NOTIFY_SOCKET": heard.path, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid()), "A": "1"}
    systemd = Systemd(environ)
    assert environ == {"A": "1"}
    assert systemd.environ() == {"NOTIFY_SOCKET": heard.path, "WATCHDOG_USEC": "3000000"}
    assert Systemd({}).environ() == {}


def test_nobody_who_listens_is_no_failure(tmp_path):
    systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    look(systemd)
    systemd.stopping()
