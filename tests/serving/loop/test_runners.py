"""Runners: how many greenlets it takes, and that nothing of one request reaches the next."""

from __future__ import annotations

import contextvars
import decimal
import gc
import logging
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import Greenlet, GreenletExit, Timeout
from gevent.event import Event
from gevent.hub import Hub
from gevent.local import local
from gevent.pool import Pool

from geventwsgi import WSGIServer
from geventwsgi.serving.loop import runners
from geventwsgi.serving.loop.runners import KEPT, Runners
from tests.support.eventually import eventually
from tests.support.streams import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

variable: contextvars.ContextVar[str | None] = contextvars.ContextVar("variable", default=None)
plain = local()


class Counted(local):
    """A local with a start value, as ``threading.local``'s documentation shows one."""

    def __init__(self) -> None:
        self.count = 0


class Crew:
    """Runners that note the greenlets that they make."""

    def __init__(self, *, once: bool = False) -> None:
        self.made: list[weakref.ref[Greenlet]] = []
        made = self.made

        class Noted(Greenlet):
            def __init__(self) -> None:
                super().__init__()
                made.append(weakref.ref(self))

        self.runners = Runners(kind=Noted, once=once)

    def do(self, *jobs: Callable[[], object]) -> None:
        """Run jobs that became ready together, and wait for the last of them."""
        done = Event()
        for job in (*jobs, done.set):
            self.runners.give(Job(job))
        assert done.wait(10)
        gevent.sleep(0)


@pytest.fixture
def crew() -> Crew:
    return Crew()


def nothing() -> None:
    pass


def wait() -> None:
    gevent.sleep(0.001)


def timed_wait() -> None:
    with Timeout(5):
        gevent.sleep(0.001)


def test_one_greenlet_runs_all_that_need_not_wait(crew: Crew) -> None:
    for _ in range(5):
        crew.do(*[nothing] * 50)
    assert len(crew.made) == 1


def wait_for_children() -> None:
    gevent.joinall([gevent.spawn(nothing) for _ in range(3)])


@pytest.mark.parametrize("job", [wait, timed_wait, wait_for_children])
def test_greenlets_whose_requests_waited_are_used_again(crew: Crew, job: Callable[[], object]) -> None:
    for _ in range(10):
        crew.do(*[job] * 5)
        gevent.sleep(0.01)
    assert len(crew.made) <= 7


def log_a_line() -> None:
    logging.getLogger("tests").info("A line")
    threading.current_thread()


def test_a_greenlet_that_is_used_by_code_that_logs_is_used_again(crew: Crew) -> None:
    for _ in range(5):
        crew.do(*[log_a_line] * 20)
    assert len(crew.made) == 1


def alive(crew: Crew) -> int:
    gc.collect()
    return sum(made() is not None for made in crew.made)


def test_as_many_greenlets_are_kept_as_were_in_use_of_late(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "LATELY", 0.2)
    many = 3 * KEPT
    for _ in range(10):
        crew.do(*[wait] * many)
        gevent.sleep(0.01)
    assert many <= len(crew.made) <= many + 2
    eventually(lambda: alive(crew) <= KEPT)
    crew.do(*[wait] * many)
    eventually(lambda: alive(crew) <= KEPT)


def test_greenlets_that_end_for_want_of_work_say_nothing(
    crew: Crew, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runners, "LATELY", 0.01)
    crew.do(*[wait] * (2 * KEPT))
    eventually(lambda: alive(crew) <= KEPT)
    assert capsys.readouterr() == ("", "")


def set_variable() -> None:
    variable.set("secret")


def set_context() -> None:
    decimal.getcontext().prec = 3


def set_local() -> None:
    plain.user = "secret"


def set_local_after_a_wait() -> None:
    gevent.sleep(0.001)
    plain.user = "secret"


def count() -> None:
    counted.count += 1


def set_attribute() -> None:
    gevent.getcurrent().user = "secret"


def set_tree_local() -> None:
    gevent.getcurrent().spawn_tree_locals["user"] = "secret"


counted = Counted()


def seen() -> tuple[Any, ...]:
    me = gevent.getcurrent()
    return (
        variable.get(),
        decimal.getcontext().prec,
        getattr(plain, "user", None),
        counted.count,
        getattr(me, "user", None),
        dict(me.spawn_tree_locals),
    )


MARKS = [set_variable, set_context, set_local, set_local_after_a_wait, count, set_attribute, set_tree_local]


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("together", [True, False])
def test_what_a_request_sets_is_not_seen_by_the_next(crew: Crew, mark: Callable[[], None], *, together: bool) -> None:
    looks: list[tuple[Any, ...]] = []
    for _ in range(3):
        jobs = [mark, lambda: looks.append(seen())]
        if together:
            crew.do(*jobs, *jobs)
        else:
            crew.do(jobs[0])
            gevent.sleep(0.01)
            crew.do(jobs[1])
    assert set(map(str, looks)) == {str((None, 28, None, 0, None, {}))}


def test_a_forgotten_timeout_hits_no_other_request(crew: Crew) -> None:
    def forgets() -> None:
        Timeout(0.02).start()

    hits: list[BaseException] = []

    def waits() -> None:
        try:
            gevent.sleep(0.05)
        except BaseException as error:  # a gevent.Timeout is no Exception
            hits.append(error)

    crew.do(forgets, waits, forgets, waits)
    gevent.sleep(0.1)
    assert not hits


def test_a_timeout_forgotten_after_a_wait_hits_no_other_request_and_no_idle_runner(
    crew: Crew, capfd: pytest.CaptureFixture[str]
) -> None:
    hits: list[BaseException] = []

    def forgets() -> None:
        gevent.sleep(0.001)
        Timeout(0.02).start()

    def waits() -> None:
        try:
            gevent.sleep(0.05)
        except BaseException as error:  # a gevent.Timeout is no Exception
            hits.append(error)

    crew.do(forgets)
    gevent.sleep(0.01)
    crew.do(waits)
    crew.do(forgets)
    gevent.sleep(0.1)
    crew.do(waits)
    gevent.sleep(0.1)
    assert not hits
    assert capfd.readouterr().err == ""


def test_a_kill_that_comes_late_hits_no_other_request(crew: Crew) -> None:
    known: list[Any] = []
    ended: list[str] = []

    def waits() -> None:
        gevent.sleep(0.02)
        ended.append("well")

    crew.do(lambda: known.append(gevent.getcurrent()), waits)
    gevent.killall([known[0]], block=False)
    gevent.sleep(0.1)
    crew.do(waits)
    gevent.sleep(0.1)
    assert ended == ["well", "well"]


def test_a_link_is_called_soon_after_its_request(crew: Crew) -> None:
    called = Event()
    crew.do(lambda: gevent.getcurrent().link(lambda _greenlet: called.set()))
    assert called.wait(1)


def kill_myself() -> None:
    gevent.getcurrent().kill()


def exit_greenlet() -> None:
    raise GreenletExit


def exit_after_a_wait() -> None:
    gevent.sleep(0.001)
    raise GreenletExit


@pytest.mark.parametrize("end", [kill_myself, exit_greenlet, exit_after_a_wait])
def test_what_is_ready_is_run_although_a_request_ends_its_greenlet(crew: Crew, end: Callable[[], None]) -> None:
    done: list[int] = []
    crew.do(*[end, lambda: done.append(1)] * 20)
    gevent.sleep(0.05)
    crew.do(nothing)
    assert len(done) == 20


# Through a whole server: an application's request after another's


@contextmanager
def serving(application: Any, **arguments: Any) -> Iterator[WSGIServer]:
    server = WSGIServer(("127.0.0.1", 0), application, log=None, **arguments)
    server.start()
    try:
        yield server
    finally:
        server.stop(0)


def marks_and_shows(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    answer = str(seen()).encode()
    for mark in MARKS:
        mark()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def ask(server: WSGIServer, data: bytes) -> bytes:
    with gevent.socket.create_connection(server.address) as client:
        client.settimeout(10)
        client.sendall(data)
        received = b""
        while piece := client.recv(65536):
            received += piece
        return received


def test_requests_see_nothing_of_each_other_on_one_connection_or_several() -> None:
    clean = str((None, 28, None, 0, None, {})).encode()
    with serving(marks_and_shows) as server:
        assert ask(server, GET * 5 + CLOSE).count(clean) == 6
        clients = [gevent.spawn(ask, server, CLOSE) for _ in range(10)]
        gevent.joinall(clients)
        assert all(clean in client.value for client in clients)


def test_context_variables_are_a_requests_own_in_a_greenlet_that_a_connection_keeps() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        answer = str(variable.get()).encode()
        variable.set("secret")
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]

    with serving(application, spawn=Pool(5)) as server:
        answers = ask(server, GET * 3 + CLOSE)
        assert answers.count(b"None") == 4 and b"secret" not in answers


def test_an_application_that_ends_its_greenlet_ends_its_own_connection_alone() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] == "/kill":
            gevent.getcurrent().kill()
        if environ["PATH_INFO"] == "/exit":
            raise GreenletExit
        if environ["PATH_INFO"] == "/system-exit":
            raise SystemExit(3)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    def get(path: bytes) -> bytes:
        try:
            return ask(server, CLOSE.replace(b"/ ", path + b" "))
        except ConnectionError:
            return b"reset"

    with serving(application, error_log=None) as server:
        for path, answer in ((b"/kill", b""), (b"/exit", b""), (b"/system-exit", b" 500 ")):
            bad = [gevent.spawn(get, path) for _ in range(5)]
            good = [gevent.spawn(get, b"/") for _ in range(5)]
            gevent.joinall(bad + good)
            assert all(client.value.endswith(b"ok") for client in good)
            assert all(client.value == b"reset" or answer in client.value for client in bad)
        eventually(lambda: server.connections == 0)
        assert server.requests == 0
    assert isinstance(gevent.get_hub(), Hub)


# A fresh greenlet for each (greenlet_per_request)


@pytest.mark.parametrize("job", [nothing, wait])
def test_runners_that_serve_once_are_as_many_as_requests(job: Callable[[], object]) -> None:
    crew = Crew(once=True)
    for _ in range(5):
        crew.do(*[job] * 10)
    assert len(crew.made) == 55


SPAWN = [lambda: Pool(1), lambda: gevent.spawn, lambda: gevent.spawn_raw]


@pytest.mark.parametrize("spawn", SPAWN)
@pytest.mark.parametrize("mark", MARKS)
def test_a_connection_with_a_greenlet_of_its_own_goes_on_in_another_after_a_mark(
    mark: Callable[[], None], spawn: Callable[[], Any]
) -> None:
    clean = str((None, 28, None, 0, None, {})).encode()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        answer = str(seen()).encode()
        mark()
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]

    with serving(application, spawn=spawn()) as server:
        with gevent.socket.create_connection(server.address) as client:
            for _ in range(3):
                client.sendall(GET)
                assert client.recv(65536).endswith(clean)
        assert ask(server, GET * 3 + CLOSE).count(clean) == 4


def forget_a_timeout(_: list[Any]) -> None:
    Timeout(0.01).start()


def forget_a_throw(kept: list[Any]) -> None:
    kept.append(gevent.get_hub().loop.timer(0.01))
    kept[-1].start(gevent.getcurrent().throw, ValueError("late"))


def wait_and_keep_it(kept: list[Any]) -> None:
    gevent.sleep(0)
    kept.append(gevent.getcurrent())


@pytest.mark.parametrize("way", ["pipelined", "one by one"])
@pytest.mark.parametrize("spawn", SPAWN)
@pytest.mark.parametrize("leave", [forget_a_timeout, forget_a_throw, wait_and_keep_it])
def test_a_connection_with_a_greenlet_of_its_own_goes_on_in_another_if_somebody_holds_that(
    leave: Callable[[list[Any]], None], spawn: Callable[[], Any], way: str
) -> None:
    used: list[int] = []
    kept: list[Any] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        used.append(id(gevent.getcurrent()))
        if len(used) == 2:
            leave(kept)
        elif len(used) == 3:
            gevent.sleep(0.03)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    with serving(application, spawn=spawn()) as server:
        if way == "pipelined":
            assert ask(server, GET * 2 + CLOSE).count(b"ok") == 3
        else:
            with gevent.socket.create_connection(server.address) as client:
                for _ in range(3):
                    client.sendall(GET)
                    assert client.recv(65536).endswith(b"ok")
    assert used[0] == used[1]
    assert leave is not wait_and_keep_it or used[1] != used[2]


@pytest.mark.parametrize(("settings", "count"), [({}, 2), ({"greenlet_per_request": True}, 5)])
def test_a_connection_of_a_pool_keeps_its_greenlet_unless_each_request_is_to_have_one(
    settings: dict[str, Any], count: int
) -> None:
    made: list[None] = []

    class Counting(Greenlet):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(None)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    with serving(application, spawn=Pool(1, Counting), **settings) as server:
        assert ask(server, GET * 2 + CLOSE).endswith(b"ok")
        assert ask(server, GET + CLOSE).endswith(b"ok")
        assert len(made) == count


def test_spawn_tree_locals_are_not_shared_by_connections_with_greenlets_of_their_own() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        answer = str(dict(gevent.getcurrent().spawn_tree_locals)).encode()
        set_tree_local()
        gevent.sleep(0.01)
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]

    with serving(application, spawn=Pool(2)) as server:
        clients = [gevent.spawn(ask, server, CLOSE) for _ in range(4)]
        gevent.joinall(clients)
        assert all(client.value.endswith(b"{}") for client in clients)
