"""Options of the test run."""

from __future__ import annotations

import gc
import os
import signal
import socket

import pytest
from hypothesis import HealthCheck, settings

from geventwsgi import core

#: Objects. The tests are a million; what Python itself freezes at its start is less (3.12 and newer).
THE_TESTS = 100_000

# How long one example takes, and how long it takes to make one, is the machine's business.
settings.register_profile("geventwsgi", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("geventwsgi")


# Servers inherit what is ignored: SIGHUP by a runner that nohup has started, the others by one in a shell's background.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)


def pytest_addoption(parser):
    parser.addoption("--affinity-rounds", type=int, default=1, help="how often sessions come back, and clients connect")
    parser.addoption("--affinity-sessions", type=int, default=24, help="sessions of which each has a worker")
    parser.addoption("--affinity-clients", type=int, default=8, help="clients of Socket.IO over 4 workers")
    parser.addoption("--byte-streams", type=int, default=2000, help="hostile byte streams sent to a real worker")
    parser.addoption("--changes", type=int, default=12, help="changes of workers while a function runs in one of them")
    parser.addoption("--channels", type=int, default=400, help="channels of a subscriber each over 4 workers")
    parser.addoption("--checked-requests", type=int, default=3000, help="requests of many clients, all of them checked")
    parser.addoption("--core", choices=["compiled", "Python"], help="the core that must run")
    parser.addoption("--database-requests", type=int, help="requests to each database in each way")
    parser.addoption("--messages", type=int, default=2000, help="messages to each of 1,000 subscribers")
    parser.addoption("--requests", type=int, default=20_000, help="requests after which memory must be as before")
    parser.addoption("--scraped-seconds", type=float, default=3, help="seconds in which no metric may ever fall")
    parser.addoption("--sessions", type=int, default=10, help="WebSocket sessions after which all must be as before")
    parser.addoption("--waiting-clients", type=int, default=70, help="clients that wait while workers are replaced")


def pytest_report_header(config):
    """Say which core is tested; where it cannot be compiled it stays Python.

    :raises pytest.UsageError: another one is to be tested.
    """
    wanted = config.getoption("--core")
    if wanted not in (None, core.name()):
        raise pytest.UsageError(f"--core {wanted}: the {core.name()} core runs; gwsgi --version shows it")
    return f"geventwsgi: {core.name()} core"


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    """Spare each test of a parallel run the 40 ms that pytest-rerunfailures' small messages wait for each other."""
    sock = getattr(getattr(config, "failures_db", None), "sock", None)
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@pytest.fixture(autouse=True, scope="module")
def few_objects_to_look_through():
    """Spare each test that collects garbage the half second for looking through the 11,000 tests themselves.

    A test that has objects thawed, as some parts of the package do, has them all thawed: so this is for each module.
    """
    if gc.get_freeze_count() < THE_TESTS:
        gc.collect()
        gc.freeze()


@pytest.fixture
def theirs(tmp_path):
    """A directory of the workers' user, and beside it a file of root's that must be as before."""
    if os.geteuid() != 0:
        pytest.skip("only root has something to lose: run it as root")
    directory, victim = tmp_path / "theirs", tmp_path / "victim"
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    victim.write_text("secret")
    victim.chmod(0o600)
    yield directory
    assert victim.read_text() == "secret"
    assert (victim.stat().st_uid, victim.stat().st_mode & 0o777) == (0, 0o600)
