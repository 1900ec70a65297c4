"""Asks a database in the way that ``GET /WAY?NUMBER`` names, and answers what that says of NUMBER: itself.

``TEST_POSTGRES`` has the host and port of the one, ``TEST_REDIS`` the other's URL. ``TEST_PSYCOPG2`` lets Django find
psycopg2 alone: ``blocks``, or ``waits``, with a callback that lets other greenlets run meanwhile.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: How long a query takes. Other requests run meanwhile.
SECONDS = 0.004
QUERY = f"SELECT %s, pg_sleep({SECONDS})"
#: Connections that a pool keeps.
KEPT = 4

local = threading.local()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer ``/WAY?NUMBER``."""
    way = environ["PATH_INFO"][1:]
    if way.startswith("django"):
        return django_application()(environ, start_response)
    answer = WAYS[way](int(environ["QUERY_STRING"]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(answer).encode()]


# Django


@cache
def django_application() -> Callable[..., Any]:
    """Return a project whose databases are one and the same, connected to in different ways."""
    driver = os.environ.get("TEST_PSYCOPG2")
    if driver:
        sys.modules["psycopg"] = None  # not to be found
    if driver == "waits":
        from psycopg2 import extensions

        extensions.set_wait_callback(wait)

    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.db import connections
    from django.http import HttpResponse
    from django.urls import path

    def ask(request: Any, way: str) -> Any:
        with connections[way].cursor() as cursor:
            cursor.execute(QUERY, [int(request.META["QUERY_STRING"])])
            return HttpResponse(str(cursor.fetchone()[0]))

    ways = {
        "django": {"CONN_MAX_AGE": 0},
        "django_max_age": {"CONN_MAX_AGE": 60},
        "django_pool": {"CONN_MAX_AGE": 0, "OPTIONS": {"pool": {"min_size": 1, "max_size": KEPT, "timeout": 30}}},
    }
    settings.configure(
        SECRET_KEY="test",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=type("Urls", (), {"urlpatterns": [path("<str:way>", ask)]}),
        DATABASES={"default": {}, **{way: django_database(way, **options) for way, options in ways.items()}},
    )
    django.setup(set_prefix=False)
    return get_wsgi_application()


def django_database(way: str, **options: Any) -> dict[str, Any]:
    """Return what ``DATABASES`` has for one."""
    known = parameters(way)
    options["OPTIONS"] = {**options.get("OPTIONS", {}), "application_name": way}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": known["dbname"], "USER": known["user"], "HOST": known["host"], "PORT": known["port"],
        **options,
    }  # fmt: skip


def wait(connection: Any) -> None:
    """Wait for PostgreSQL as psycopg2's documentation shows, by gevent."""
    from gevent.socket import wait_read, wait_write
    from psycopg2 import extensions

    waits = {extensions.POLL_READ: wait_read, extensions.POLL_WRITE: wait_write}
    while (state := connection.poll()) != extensions.POLL_OK:
        waits[state](connection.fileno())


def parameters(way: str) -> dict[str, str]:
    """Return the words that drivers connect by; PostgreSQL shows which way has connected."""
    words = f"{os.environ['TEST_POSTGRES']} application_name={way}".split()
    return dict(word.split("=") for word in words)


# SQLAlchemy


def sqlalchemy(number: int) -> object:
    """Ask as the documentation says for web applications."""
    session = scoped_session("sqlalchemy")
    try:
        return ask_sqlalchemy(session, number)
    finally:
        session.remove()


def sqlalchemy_left(number: int) -> object:
    """Leave the session as it is, in the midst of a transaction."""
    return ask_sqlalchemy(scoped_session("sqlalchemy_left"), number)


def ask_sqlalchemy(session: Any, number: int) -> object:
    """Ask PostgreSQL."""
    from sqlalchemy import text

    return session.execute(text(QUERY.replace("%s", ":number")), {"number": number}).scalar()


@cache
def scoped_session(way: str) -> Any:
    """Return the sessions of an engine whose pool keeps :data:`KEPT` connections and may open many more."""
    from sqlalchemy import create_engine, orm

    engine = create_engine(
        "postgresql+psycopg://", connect_args=parameters(way), pool_size=KEPT, max_overflow=40, pool_timeout=10
    )
    return orm.scoped_session(orm.sessionmaker(engine))


# A driver's connection


def thread_local(number: int) -> object:
    """Leave a connection in a thread-local, in objects that refer to each other."""
    import psycopg

    local.connection = psycopg.connect(**parameters("thread_local"))
    local.helpers = [{"connection": local.connection}]
    local.helpers[0]["helpers"] = local.helpers
    return local.connection.execute(QUERY, [number]).fetchone()[0]


# Redis


def redis(number: int) -> object:
    """Ask by a pool that opens a connection whenever there is none."""
    return redis_client("redis").echo(str(number)).decode()


def redis_blocking(number: int) -> object:
    """Ask by a pool that waits for one."""
    return redis_client("redis_blocking").echo(str(number)).decode()


@cache
def redis_client(way: str) -> Any:
    """Return a client with a pool."""
    import redis as library

    url, blocking = os.environ["TEST_REDIS"], library.BlockingConnectionPool
    pool = (
        blocking.from_url(url, client_name=way, max_connections=KEPT, timeout=30)
        if way == "redis_blocking"
        else library.ConnectionPool.from_url(url, client_name=way)
    )
    return library.Redis(connection_pool=pool)


WAYS: dict[str, Callable[[int], object]] = {
    one.__name__: one for one in (sqlalchemy, sqlalchemy_left, thread_local, redis, redis_blocking)
}
