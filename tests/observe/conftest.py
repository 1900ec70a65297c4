"""Loggers of the process are fresh in each test here, and back as they were after it."""

from __future__ import annotations

import logging
import re
import select
import socket
from types import SimpleNamespace

import pytest

from geventwsgi.config.settings import BY_NAME
from geventwsgi.observe.access import Record
from geventwsgi.observe.log import Logger

NAMES = ("geventwsgi.error", "geventwsgi.access", "gunicorn.error", "gunicorn.access")

DEFAULTS = {
    "accesslog": None,
    "disable_redirect_access_to_syslog": False,
    "access_log_format": BY_NAME["access_log_format"].default,
    "access_log_skip": [],
    "error_log_format": "text",
    "errorlog": "-",
    "loglevel": "info",
    "capture_output": False,
    "logconfig": None,
    "logconfig_dict": {},
    "logconfig_json": None,
    "syslog": False,
    "syslog_addr": "udp://localhost:514",
    "syslog_prefix": None,
    "syslog_facility": "user",
    "statsd_host": None,
    "dogstatsd_tags": "",
    "statsd_prefix": "",
    "proc_name": "gwsgi",
}

RECORD = re.compile(r"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4})\] \[(\d+)\] \[([A-Z]+)\] (.*)")


@pytest.fixture(autouse=True)
def fresh_loggers():
    root = logging.root
    handlers, level = root.handlers[:], root.level
    registered = dict(root.manager.loggerDict)
    for name in NAMES:
        root.manager.loggerDict.pop(name, None)
    yield
    made = [logger for name, logger in root.manager.loggerDict.items() if registered.get(name) is not logger]
    for logger in [root, *made]:
        for handler in getattr(logger, "handlers", []):
            if handler not in handlers:
                handler.close()
                getattr(handler, "discard", handler.close)()
    root.handlers[:] = handlers
    root.setLevel(level)
    root.manager.loggerDict.clear()
    root.manager.loggerDict.update(registered)


@pytest.fixture
def loose_logger():
    """Return a logger that nobody else can get at, pytest included."""
    return logging.Logger("loose")  # noqa: LOG001 - outside the hierarchy, which is the point


@pytest.fixture
def settings():
    def make(**given):
        return SimpleNamespace(**{**DEFAULTS, **given})

    return make


@pytest.fixture
def make_logger(settings):
    made = []

    def make(cls=Logger, **given):
        log = cls(settings(**given))
        made.append(log)
        return log

    yield make
    for log in made:
        log.close()


@pytest.fixture
def request_record():
    """Make the arguments of an access record, as the gateway does after an ordinary request."""

    def make(status="200 OK", sent=5, headers=(), duration=0.0123456, **environ):
        environ = {
            "REQUEST_METHOD": "GET",
            "RAW_URI": "/a%20b?c=d",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "PATH_INFO": "/a b",
            "QUERY_STRING": "c=d",
            "REMOTE_ADDR": "192.0.2.7",
            **environ,
        }
        req = SimpleNamespace(method="GET", uri="/a%20b?c=d", version=(1, 1), headers=[("HOST", "example.org")])
        resp = SimpleNamespace(status=status, headers=list(headers), sent=sent)
        return Record(req, resp, environ, duration)

    return make


class Agent:
    """A syslog daemon or a statsd agent: a real socket."""

    def __init__(self, family, kind, address):
        self.socket = socket.socket(family, kind)
        self.socket.settimeout(5)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(address)
        if kind == socket.SOCK_STREAM:
            self.socket.listen()

    @property
    def port(self):
        return self.socket.getsockname()[1]

    def receive(self):
        return self.socket.recv(65536).decode()

    def silent(self):
        return not select.select([self.socket], [], [], 0)[0]

    def accept(self):
        connection = self.socket.accept()[0]
        connection.settimeout(5)
        return connection


@pytest.fixture
def make_agent():
    agents = []

    def make(family=socket.AF_INET, kind=socket.SOCK_DGRAM, address=("127.0.0.1", 0)):
        agents.append(Agent(family, kind, address))
        return agents[-1]

    yield make
    for agent in agents:
        agent.socket.close()
