from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventwsgi.config import kinds
from geventwsgi.config.settings import SETTINGS


class Logger:
    pass


GOOD = [
    (kinds.COUNT, [(3, 3), ("3", 3), (" 010 ", 10), ("0x10", 16), ("1_000", 1000), (0, 0)]),
    (kinds.whole(2, 4), [(2, 2), ("4", 4)]),
    (kinds.SECONDS, [(3, 3), ("3", 3), (0.5, 0.5), ("0.5", 0.5), (0, 0), (2.0, 2.0)]),
    (kinds.SIZE, [(5, 5), ("5", 5), ("1k", 1024), (" 1.5G ", 3 << 29), ("2MiB", 2 << 20), ("2MB", 2 << 20), (0, 0)]),
    (kinds.SHARE, [(2, "2"), (" 2 ", "2"), ("25%", "25%"), ("100%", "100%")]),
    (kinds.MODE, [(0o22, 0o22), ("022", 0o22), ("0o22", 0o22), ("22", 22), ("0", 0)]),
    (
        kinds.SWITCH,
        [(True, True), (False, False), ("true", True), (" FALSE ", False), ("no", False), (1, True), ("y", True)],
    ),
    (kinds.TEXT, [("x", "x"), (" x ", "x"), ("", ""), (Path("/x/y"), "/x/y")]),
    (kinds.ACCESS_FORMAT, [("JSON", "json"), (" %(h)s JSON ", "%(h)s JSON")]),
    (kinds.FIELD_NAME, [("X-Request-Id", "X-Request-Id"), ("none", None), ("", None)]),
    (kinds.one_of("a", "b", c="a"), [("a", "a"), (" B ", "b"), ("C", "a")]),
    (kinds.STRINGS, [("x", ["x"]), (["x", " y"], ["x", "y"]), (("x",), ["x"]), ([], [])]),
    (kinds.NAMES, [("a,B", ["A", "B"]), (["script_name"], ["SCRIPT_NAME"]), ("", [])]),
    (kinds.DIRECTORIES, [("/a, /b", ["/a", "/b"]), (Path("/a"), ["/a"])]),
    (
        kinds.NETWORKS,
        [("127.0.0.1,::1", ["127.0.0.1", "::1"]), ("*", ["*"]), ("", []), (["10.0.0.0/8"], ["10.0.0.0/8"])],
    ),
    (
        kinds.BINDS,
        [(":80", [":80"]), ("a:1,b:2", ["a:1", "b:2"]), (["a:1", "unix:/x, fd://3"], ["a:1", "unix:/x", "fd://3"])],
    ),
    (kinds.BINDS, [(8000, ["8000"])]),
    (kinds.ASSIGNMENTS, [("A=1", ["A=1"]), (["A=", "B=x=y"], ["A=", "B=x=y"])]),
    (kinds.PROTOCOLS, [("h1", ["h1"]), ("H2,h1", ["h2", "h1"]), ("", ["h1"])]),
    (kinds.DICTIONARY, [({"version": 1}, {"version": 1})]),
    (kinds.HEADER_VALUES, [({"x-forwarded-proto": "https"}, {"X-FORWARDED-PROTO": "https"})]),
    (kinds.WORKER_CLASS, [(name, "gevent") for name in ("gevent", "gevent_wsgi", "gevent_pywsgi", " gevent ")]),
    (kinds.WORKER_CLASS, [("my.worker:Worker", "my.worker:Worker"), ("m:Out.In", "m:Out.In"), (Logger, Logger)]),
    (kinds.LOGGER, [(name, kinds.LOGGER_CLASS) for name in ("simple", "gunicorn.glogging.Logger", kinds.LOGGER_CLASS)]),
    (kinds.LOGGER, [("my.log:Logger", "my.log:Logger"), (Logger, Logger), (lambda: Logger, Logger)]),
    (
        kinds.TLS_VERSION,
        [("TLS", "TLS"), ("SSLv23", "TLS"), (2, "TLS"), (17, "TLS"), ("5", "TLSv1_2"), ("TLSv1_3", "TLSv1_3")],
    ),
    (kinds.TLS_VERSION, [(ssl.PROTOCOL_TLS_SERVER, "TLS"), ("PROTOCOL_TLSv1_2", "TLSv1_2"), (3, "TLSv1")]),
    (kinds.CERT_REQS, [(0, 0), ("2", 2), (ssl.CERT_REQUIRED, 2), ("CERT_OPTIONAL", 1)]),
    (kinds.USER, [(12, 12), ("12", 12), ("root", 0)]),
    (kinds.GROUP, [(12, 12), ("12", 12), ("root", 0)]),
    (
        kinds.SYSLOG,
        [(text, text) for text in ("udp://localhost:514", "tcp://[::1]", "unix:///dev/log#dgram", "udp://")],
    ),
    (kinds.STATSD, [("localhost:1", ("localhost", 1)), (("localhost", 1), ("localhost", 1)), ("unix:/x", "/x")]),
]

BAD = [
    (kinds.COUNT, [-1, "many", "", 1.5, True, None, [], "1.0"], "must be a whole number, 0 or more, not "),
    (kinds.COUNT, [2**31, 10**30, "9" * 20], "must be a whole number, 2147483647 at the most, not "),
    (kinds.whole(1), [2**31], "must be a whole number, 2147483647 at the most, not "),
    (kinds.LARGE_COUNT, [2**63], "must be a whole number, 9223372036854775807 at the most, not "),
    (kinds.TEXT, ["a\0b"], "must be text without a null character, not "),
    (kinds.whole(2, 4), [1, 5, "9"], "must be a whole number, from 2 to 4, not "),
    (
        kinds.SECONDS,
        [-1, "-0.1", "nan", float("inf"), "soon", True, None],
        "must be a number of seconds, 0 or more, not ",
    ),
    (kinds.SIZE, [-1, "much", "", "1T", True, None, "M", "nan"], "must be a number of bytes such as 512M, not "),
    (
        kinds.SHARE,
        [0, "0", "-1", "101%", "%", "some", None, 1.5],
        "must be a whole number from 1 up, or a percentage such as 25%, not ",
    ),
    (kinds.MODE, ["rwx", -1, 0o10000, "08", None], "must be permission bits such as 0o022, not "),
    (kinds.SWITCH, ["maybe", 2, "", None, 0.0], "must be true or false, not "),
    (kinds.TEXT, [1, ["x"], b"x"], "must be text, not "),
    (
        kinds.FIELD_NAME,
        ["X Y", "X_Id", "content-length", "Transfer-Encoding", "Host", "Connection"],
        "must be the name of a header field of its own such as X-Request-Id, not ",
    ),
    (kinds.one_of("a", "b"), ["c", 1, None], "must be one of a, b, not "),
    (kinds.STRINGS, [1, {"a": 1}], "must be text or a list of texts, not "),
    (kinds.STRINGS, [["x", 1]], "must be text, not 1"),
    (kinds.NETWORKS, ["10.0.0.1/8", "proxy.internal"], "must list IP addresses or networks, or '*': "),
    (kinds.BINDS, ["", [], ","], "must be at least one address, not "),
    (kinds.BINDS, ["::1"], "needs brackets"),
    (kinds.ASSIGNMENTS, ["A", "=1", ["A=1", "B"]], "must be NAME=VALUE, not "),
    (kinds.PROTOCOLS, ["h3", "h1,h1"], "must be h1, h2 or both, each once, not "),
    (kinds.DICTIONARY, ["x", ["x"]], "must be a dictionary, not "),
    (kinds.HEADER_VALUES, [{"A": 1}, {1: "a"}], "must be a dictionary of header names and values, not "),
    (
        kinds.WORKER_CLASS,
        ["greenlets", ":X", "m:", "m:1", "m:f()", "m.", ".X"],
        "must be one of gevent, gevent_wsgi, gevent_pywsgi, or MODULE:CLASS for a subclass of ",
    ),
    (
        kinds.WORKER_CLASS,
        ["sync", "gunicorn.workers.sync.SyncWorker"],
        "cannot be used: sync runs one request at a time",
    ),
    (kinds.WORKER_CLASS, ["tornado"], "cannot be used: tornado is a worker for Tornado's applications"),
    (kinds.LOGGER, [1], "must be text, not 1"),
    (kinds.TLS_VERSION, ["TLSv9", 99, None], "must be one of SSLv3, TLS, "),
    (kinds.CERT_REQS, [3, "yes", -1], "must be 0 (none), 1 (optional) or 2 (required), not "),
    (kinds.USER, ["no-such-user"], "must be a user of this system, not 'no-such-user'"),
    (kinds.USER, [str(2**32 - 1)], "must be a user of this system, not '4294967295'"),
    (kinds.GROUP, ["no-such-group"], "must be a group of this system, not 'no-such-group'"),
    (kinds.SYSLOG, ["localhost:514", "ftp://x", ""], "must be udp://HOST:PORT, tcp://HOST:PORT or unix://PATH, not "),
    (kinds.SYSLOG, ["udp://x:y"], "needs a port"),
    (kinds.STATSD, ["x:y"], "needs a port"),
    (kinds.OWN_ADDRESS, ["fd://3", "fd://x", "fd://"], "must be HOST:PORT or unix:PATH, not "),
    (kinds.OWN_ADDRESS, ["http://x"], "write HOST:PORT or unix:PATH"),
    (kinds.STATSD, [(1, 2, 3)], "must be text, not "),
]


@pytest.mark.parametrize(("kind", "value", "parsed"), [(kind, *row) for kind, rows in GOOD for row in rows])
def test_reads_a_value_into_its_kind(kind, value, parsed):
    found = kind.parse(value)
    assert found == parsed
    assert type(found) is type(parsed)


@pytest.mark.parametrize(
    ("kind", "value", "text"), [(kind, value, text) for kind, values, text in BAD for value in values]
)
def test_says_what_a_value_must_be(kind, value, text):
    with pytest.raises(ValueError) as caught:
        kind.parse(value)
    assert text in str(caught.value)


def test_a_long_value_is_cut_in_its_error():
    with pytest.raises(ValueError) as caught:
        kinds.COUNT.parse("x" * 10_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
@settings(max_examples=20)
@given(value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.text()))
def test_any_value_is_taken_or_is_a_value_error(setting, value):
    with contextlib.suppress(ValueError):
        parsed = setting.parse(value)
        assert callable(parsed) or setting.parse(parsed) == parsed


# --- hooks


def takes_two(server: Any, worker: Any) -> str:
    return f"{server}{worker}"


class Callable2:
    def __call__(self, server: Any, worker: Any) -> None:
        pass


@pytest.mark.parametrize(
    "function",
    [
        takes_two,
        lambda *a: None,
        lambda a, b=1, c=2: None,
        Callable2(),
        Callable2().__call__,
        print,
        f"{__name__}.takes_two",
    ],
)
def test_a_hook_is_anything_that_takes_the_arguments(function):
    assert callable(kinds.hook("server, worker").parse(function))


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda server: None, "must take (server, worker), but <lambda> takes (server)"),
        (lambda a, b, c: None, "must take (server, worker), but <lambda> takes (a, b, c)"),
        (Callable2, "must take (server, worker), but Callable2 takes ()"),
        (3, "must be a function that takes (server, worker), not 3"),
        ("when_ready", "must be a function: hook must be MODULE:NAME, not 'when_ready'"),
        ("nosuchmodule.f", "must be a function: hook: no module named 'nosuchmodule'"),
    ],
)
def test_a_hook_with_other_arguments_is_refused(function, text):
    with pytest.raises(ValueError) as caught:
        kinds.hook("server, worker").parse(function)
    assert text in str(caught.value)


def test_a_builtin_that_does_not_tell_its_arguments_is_a_hook():
    assert kinds.hook("server").parse(type) is type


def test_a_shorter_post_request_is_given_its_first_arguments():
    hook = kinds.hook("worker, req, environ, resp", shorter=(3, 2))
    assert hook.parse(lambda *four: four)(1, 2, 3, 4) == (1, 2, 3, 4)
    assert hook.parse(lambda a, b, c: (a, b, c))(1, 2, 3, 4) == (1, 2, 3)
    assert hook.parse(lambda a, b: (a, b))(1, 2, 3, 4) == (1, 2)
    with pytest.raises(ValueError, match=r"must take \(worker, req, environ, resp\)"):
        hook.parse(lambda a: None)


def test_the_default_of_ssl_context_returns_what_the_factory_makes():
    assert kinds.default_ssl_context(None, lambda: "context") == "context"
    assert kinds.nothing(1, 2) is None
