"""What ``--check-config`` warns of, beside what would keep a server from starting."""

from __future__ import annotations

import gc
import sys
from types import ModuleType, SimpleNamespace

import pytest

from geventwsgi.config.sources import Config
from geventwsgi.entry.doctor import BLOCKS, diagnose


def module(name, **attributes):
    made = ModuleType(name)
    vars(made).update(attributes)
    return made


def psycopg2(callback):
    return module("psycopg2", extensions=SimpleNamespace(get_wait_callback=lambda: callback))


def found(modules=(), **settings):
    return diagnose(Config.of(**settings), dict(modules))


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ({"psycopg2": psycopg2(None)}, ["psycopg2 blocks", "psycogreen"]),
        ({"psycopg2": module("psycopg2")}, ["psycopg2 blocks"]),
        ({"psycopg2": psycopg2(print)}, None),
        ({"MySQLdb": module("MySQLdb")}, ["MySQLdb blocks", "PyMySQL"]),
        ({"grpc": module("grpc")}, ["grpc blocks", "init_gevent()"]),
        ({"oracledb": module("oracledb", is_thin_mode=lambda: True)}, None),
        ({"oracledb": module("oracledb", is_thin_mode=lambda: False)}, ["oracledb blocks", "thin mode"]),
        ({"eventlet.patcher": module("eventlet.patcher", already_patched={"socket": True})}, ["eventlet blocks"]),
        ({"eventlet.patcher": module("eventlet.patcher", already_patched={})}, None),
        ({"psycopg": module("psycopg"), "pymysql": module("pymysql")}, None),
    ],
)
def test_libraries(modules, words):
    lines = found(modules)
    assert [all(word in line for word in words or ()) for line in lines] == ([True] if words else [])


def test_grpc_in_its_gevent_mode(monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc.experimental.gevent", module("grpc.experimental.gevent"))
    assert found({"grpc": module("grpc")}) == []


def test_a_library_with_another_interface_is_no_failure():
    assert found({"oracledb": module("oracledb")}) == []


@pytest.mark.parametrize("name", [name for name, _, _ in BLOCKS])
def test_each_cure_is_one_line(name):
    (cure,) = [cure for known, _, cure in BLOCKS if known == name]
    assert cure and "\n" not in cure


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"request_timeout": 60}, "graceful_timeout"),
        ({"request_timeout": 20}, None),
        ({"stall_threshold": 30}, "stall_threshold"),
        ({"stall_threshold": 0.1}, None),
        ({"stall_threshold": 30, "timeout": 0}, None),
        ({"slow_request_threshold": 10, "request_timeout": 10}, "slow_request_threshold"),
        ({"slow_request_threshold": 5, "request_timeout": 10}, None),
        ({"slow_request_threshold": 5}, None),
        ({"access_log_format": "json"}, "access_log_format has no effect"),
        ({"access_log_format": "json", "accesslog": "-"}, None),
        ({"access_log_skip": ["404"]}, "access_log_skip has no effect"),
        ({"limit_connections": 10, "limit_connections_per_address": 20}, "limit_connections_per_address"),
        ({"limit_connections": 30, "limit_connections_per_address": 20}, None),
        ({}, None),
    ],
)
def test_settings(settings, word):
    lines = found(**settings)
    assert [word in line for line in lines] == ([True] if word else [])


def test_socketio_servers_that_do_not_know_each_other():
    socketio = pytest.importorskip("socketio")
    server = socketio.Server(async_mode="threading")
    (line,) = found(sys.modules, workers=2)
    assert "ChannelManager()" in line and server is not None


def test_socketio_servers_with_a_manager():
    socketio = pytest.importorskip("socketio")
    gc.collect()  # the servers of other tests
    server = socketio.Server(async_mode="threading", client_manager=socketio.PubSubManager())
    assert found(sys.modules, workers=2) == [] and server is not None


def test_a_lazy_object_of_the_application_is_not_evaluated():
    pytest.importorskip("socketio.pubsub_manager")
    gc.collect()  # the servers of other tests

    class Lazy:
        """As Django's ``SimpleLazyObject``, which loads its value to answer what its class is."""

        @property
        def __class__(self):
            raise RuntimeError("the database cannot be reached")

    lazy = Lazy()
    assert found(sys.modules, workers=2) == [] and lazy is not None
