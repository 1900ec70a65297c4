"""What works, but not as its operator expects (``--check-config``): libraries that block, settings that contradict.

Looks at the modules that the application has imported and at the settings; runs nothing of either.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from geventwsgi.config.sources import Config

_THREADPOOL = "call it by gevent.get_hub().threadpool.apply"


def _always(_module: Any) -> bool:
    return True


def _waits_in_c(psycopg2: Any) -> bool:
    extensions = getattr(psycopg2, "extensions", None)
    return extensions is None or extensions.get_wait_callback() is None


def _without_its_gevent_mode(_grpc: Any) -> bool:
    return "grpc.experimental.gevent" not in sys.modules


def _is_thick(oracledb: Any) -> bool:
    return not oracledb.is_thin_mode()


def _has_patched(patcher: Any) -> bool:
    return bool(getattr(patcher, "already_patched", None))


#: A module, the test whether it blocks, and the cure.
BLOCKS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "psycopg2",
        _waits_in_c,
        "call psycogreen.gevent.patch_psycopg() when the application is loaded, or use psycopg 3",
    ),
    ("MySQLdb", _always, "use PyMySQL (pymysql.install_as_MySQLdb()) in place of mysqlclient"),
    ("_mysql_connector", _always, "connect with use_pure=True, or use PyMySQL"),
    ("grpc", _without_its_gevent_mode, "call grpc.experimental.gevent.init_gevent() before the first channel"),
    ("oracledb", _is_thick, "do not call init_oracle_client(): the thin mode is in Python"),
    ("cx_Oracle", _always, "use oracledb in its thin mode"),
    ("pyodbc", _always, f"{_THREADPOOL}, or use a driver in Python"),
    ("pymssql", _always, "use python-tds, or " + _THREADPOOL),
    ("confluent_kafka", _always, "use kafka-python, or " + _THREADPOOL),
    ("pycurl", _always, "use requests or urllib3, or " + _THREADPOOL),
    ("pylibmc", _always, "use pymemcache"),
    ("uvloop", _always, "run loops of asyncio's own: each request may have one"),
    ("eventlet.patcher", _has_patched, "remove eventlet.monkey_patch(): gwsgi patches for gevent"),
)


def diagnose(cfg: Config, modules: Mapping[str, Any]) -> list[str]:
    """Return a line for each finding: the cause and the cure.

    :param modules: those that are loaded, by their names.
    """
    return [*_blocking(modules), *_unshared(cfg, modules), *_contradictions(cfg)]


def _blocking(modules: Mapping[str, Any]) -> Iterator[str]:
    for name, blocks, cure in BLOCKS:
        module = modules.get(name)
        if module is not None and _asked(blocks, module):
            yield f"{name.partition('.')[0]} blocks a worker while it waits: {cure}"


def _asked(blocks: Callable[[Any], bool], module: Any) -> bool:
    try:
        return blocks(module)
    except Exception:  # noqa: BLE001 - a version with another interface: nothing is known of it
        return False


def _unshared(cfg: Config, modules: Mapping[str, Any]) -> Iterator[str]:
    """Tell of Socket.IO servers that do not know each other."""
    if cfg.workers > 1 and "socketio" in modules and "socketio.pubsub_manager" in modules:
        server, shared = modules["socketio"].Server, modules["socketio.pubsub_manager"].PubSubManager
        # isinstance() would read __class__, which evaluates the lazy objects of Django and others
        found = [one for one in gc.get_objects() if issubclass(type(one), server)]
        if any(not isinstance(one.manager, shared) for one in found):
            yield (
                f"Socket.IO in {cfg.workers} workers: clients of different workers do not hear each other: give it "
                "client_manager=geventwsgi.workers.socketio_manager.ChannelManager(), and let clients use WebSockets "
                "alone"
            )


def _contradictions(cfg: Config) -> Iterator[str]:
    if cfg.request_timeout > cfg.graceful_timeout:
        yield (
            f"request_timeout ({cfg.request_timeout:g} s) exceeds graceful_timeout ({cfg.graceful_timeout:g} s), "
            "after which a worker that ends cuts its requests: raise the latter"
        )
    if cfg.timeout and cfg.stall_threshold >= cfg.timeout:
        yield (
            f"stall_threshold ({cfg.stall_threshold:g} s) is not below timeout ({cfg.timeout:g} s), after which a "
            "worker is ended: lower it"
        )
    if 0 < cfg.request_timeout <= cfg.slow_request_threshold:
        yield (
            f"slow_request_threshold ({cfg.slow_request_threshold:g} s) is not below request_timeout "
            f"({cfg.request_timeout:g} s), after which a request is ended: lower it"
        )
    if cfg.accesslog is None and not cfg.syslog and not (cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json):
        for name in ("access_log_format", "access_log_skip"):
            if cfg.source(name) != "default":
                yield f"{name} has no effect: there is no access log; set accesslog"
    if 0 < cfg.limit_connections <= cfg.limit_connections_per_address:
        yield (
            f"limit_connections_per_address ({cfg.limit_connections_per_address}) has no effect: limit_connections, "
            f"for all addresses together, is {cfg.limit_connections}; lower the former"
        )
