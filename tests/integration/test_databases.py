"""Databases see no more connections than there are requests, whatever keeps them, and no request fails.

20 clients keep their connections, of whom 8 have a request in flight at a time.
"""

from __future__ import annotations

import importlib.util
import itertools
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.client import Client
from tests.support.fullapps.database_app import KEPT
from tests.support.nginx import Nginx, find_nginx
from tests.support.postgres import Postgres, find_postgres
from tests.support.process import Gwsgi
from tests.support.redis import Redis, find_redis
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

APP = "tests.support.fullapps.database_app:application"
CLIENTS, IN_FLIGHT = 20, 8
#: Requests, and those that connect anew each time: that costs PostgreSQL a process.
REQUESTS, ANEW = 500, 100
#: Connections beyond the requests in flight: those whose processes are about to end.
MORE = 4

NGINX = """
    upstream backend { server UPSTREAM; keepalive 8; }
    server {
        listen LISTEN;
        location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; }
    }
"""


def needs(*modules: str) -> list[pytest.MarkDecorator]:
    """Return the marks of a test that needs PostgreSQL and drivers."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    return [
        pytest.mark.skipif(find_postgres() is None, reason="PostgreSQL is not installed"),
        pytest.mark.skipif(bool(missing), reason=f"{missing} not installed"),
    ]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as postgres:
        yield postgres


@pytest.fixture(scope="module")
def connected(postgres: Postgres) -> Iterator[Callable[[str], int]]:
    """What tells how many connections PostgreSQL has that were opened in one way."""
    import psycopg

    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    with psycopg.connect(postgres.dsn, autocommit=True) as observer:
        yield lambda way: observer.execute(query, [way]).fetchone()[0]


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Iterator[Gwsgi]:
    with Gwsgi(app=APP, env={"TEST_POSTGRES": postgres.dsn}) as server:
        yield server


@pytest.fixture
def nginx(server: Gwsgi) -> Iterator[Nginx]:
    with Nginx(NGINX.replace("UPSTREAM", server.url.removeprefix("http://"))) as nginx:
        yield nginx


class Crowd:
    """Clients that ask one after the other, a few at a time, as often as they are to."""

    def __init__(self, url: str, way: str, requests: int) -> None:
        self._url, self._way, self._requests = url, way, requests
        self._numbers = itertools.count(1)
        self._places = threading.Semaphore(IN_FLIGHT)
        self.right = 0
        self.wrong: list[Any] = []

    def ask(self, connected: Callable[[str], int]) -> int:
        """Ask, and return the most connections that the database had meanwhile."""
        threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        most = 0
        for thread in threads:
            while thread.is_alive():
                most = max(most, connected(self._way))
                thread.join(0.01)
        return most

    def _ask(self) -> None:
        with Client(self._url) as client:
            for number in itertools.takewhile(self._requests.__ge__, self._numbers):
                try:
                    with self._places:
                        reply = client.get(f"/{self._way}?{number}")
                except Exception as error:  # each is a failure of the server's
                    self.wrong.append(error)
                    return
                if (reply.status, reply.text) == (200, str(number)):
                    self.right += 1
                else:
                    self.wrong.append((reply.status, reply.text))


class Check:
    """Ask in one way; see to what the database gets of it, and to what it keeps afterwards."""

    def __init__(self, requests: int | None) -> None:
        self._requests = requests

    def __call__(self, server: Gwsgi, url: str, way: str, connected: Callable[[str], int], kept: int) -> None:
        """Do it.

        :param kept: connections that a pool keeps; 0 if each request connects anew.
        """
        before = len(server.log_text())
        requests = self._requests or (REQUESTS if kept else ANEW)
        crowd = Crowd(url, way, requests)
        most = crowd.ask(connected)
        assert crowd.wrong == []
        assert crowd.right == requests
        assert 0 < most <= IN_FLIGHT + MORE
        wait_until(lambda: connected(way) <= kept, 10, lambda: f"{connected(way)} connections are left")
        log = server.log_text()[before:]
        assert not [sign for sign in ("Traceback", "Exception ignored", "BlockingSwitchOutError") if sign in log]


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Check:
    """Run with ``--database-requests 500`` for the whole number where each request connects anew."""
    return Check(request.config.getoption("--database-requests"))


KEEPS = {
    "django": 0,
    "django_max_age": 0,
    "django_pool": KEPT,
    "sqlalchemy": KEPT,
    "sqlalchemy_left": KEPT,
    "thread_local": 0,
}
LIBRARIES = {"django": "django", "sqlalchemy": "sqlalchemy", "thread": "psycopg"}


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=needs("psycopg", "psycopg_pool", LIBRARIES[way.split("_")[0]])) for way in KEEPS]
)
def test_connections_are_as_many_as_requests(
    server: Gwsgi, connected: Callable[[str], int], way: str, check: Check
) -> None:
    check(server, server.url, way, connected, KEEPS[way])


@pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed")
@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=needs("psycopg", "psycopg_pool", "django")) for way in ("django_max_age", "django_pool")],
)
def test_behind_nginx(server: Gwsgi, nginx: Nginx, connected: Callable[[str], int], way: str, check: Check) -> None:
    check(server, nginx.url, way, connected, KEEPS[way])


@pytest.mark.parametrize(
    "wait", [pytest.param(wait, marks=needs("psycopg", "psycopg2", "django")) for wait in ("blocks", "waits")]
)
def test_psycopg2(postgres: Postgres, connected: Callable[[str], int], wait: str, check: Check) -> None:
    with Gwsgi(app=APP, env={"TEST_POSTGRES": postgres.dsn, "TEST_PSYCOPG2": wait}) as server:
        check(server, server.url, "django_max_age", connected, 0)


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as redis:
        yield redis


@pytest.mark.skipif(find_redis() is None, reason="redis-server is not installed")
@pytest.mark.parametrize(("way", "kept"), [("redis", IN_FLIGHT), ("redis_blocking", KEPT)])
def test_pools_of_redis(redis: Redis, way: str, kept: int, check: Check) -> None:
    with Gwsgi(app=APP, env={"TEST_REDIS": redis.url}) as server, ExitStack() as stack:
        observer = redis.client()
        stack.callback(observer.close)
        check(server, server.url, way, lambda way: sum(one["name"] == way for one in observer.client_list()), kept)
