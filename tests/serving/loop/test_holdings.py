"""What an ended greenlet held is let go of at once, objects that refer to each other included."""

from __future__ import annotations

import contextvars
import gc
import sys
from _thread import allocate_lock
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent.event import Event
from gevent.local import local

from geventwsgi.serving.loop import holdings
from geventwsgi.serving.loop.holdings import let_go
from tests.serving.loop.test_runners import Crew, serving
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

plain = local()
variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable", default=None)
shared = SimpleNamespace(name="the application's")
ended: list[str] = []


class Resource:
    """What must not outlive its request."""

    def __del__(self) -> None:
        ended.append("ended in the hub, which cannot wait" if gevent.getcurrent() is gevent.get_hub() else "ended")


class Rollback:
    """What waits as it ends, for as long as it is told to."""

    def __init__(self, wait: Callable[[], object]) -> None:
        self.wait = wait

    def __del__(self) -> None:
        ended.append("begins")
        self.wait()
        ended.append("rolled back")


def circle(resource: Any = None) -> Any:
    """Return an object and its helpers, which refer to each other, as in a Django connection."""
    wrapper = SimpleNamespace(resource=resource or Resource(), settings=shared)
    wrapper.helpers = [SimpleNamespace(wrapper=wrapper) for _ in range(3)]
    wrapper.callback = lambda: wrapper
    return wrapper


def grow_old() -> None:
    """Let all that there is survive the collections of the young, as the objects of a request that waits do."""
    gc.collect(0)
    gc.collect(1)


@pytest.fixture(autouse=True)
def _no_other_collection() -> Iterator[None]:
    """Have nothing collected but what the test collects, which does not look at all that the tests have loaded."""
    thresholds = gc.get_threshold()
    gc.freeze()
    ended.clear()
    gc.set_threshold(1_000_000)
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def in_local() -> None:
    plain.connection = circle()


def in_local_deep_inside() -> None:
    plain.connections = {"default": [(circle(),)]}


def in_attribute() -> None:
    gevent.getcurrent().connection = circle()


def in_spawn_tree() -> None:
    gevent.getcurrent().spawn_tree_locals["connection"] = circle()


def in_context() -> None:
    variable.set(circle())


def in_local_without_a_circle() -> None:
    plain.connection = Resource()


PLACES = [in_local, in_local_deep_inside, in_attribute, in_spawn_tree, in_context, in_local_without_a_circle]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("old", [False, True])
def test_a_request_lets_go_of_what_it_has_left(place: Callable[[], None], *, old: bool) -> None:
    crew = Crew()

    def job() -> None:
        place()
        if old:
            grow_old()

    crew.do(job)
    eventually(lambda: ended == ["ended"])


def through_a_server(place: Callable[[], None], **arguments: Any) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        place()
        grow_old()
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    with serving(application, **arguments) as server, gevent.socket.create_connection(server.address) as client:
        client.settimeout(10)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).endswith(b"ok")
        if place is in_context:
            eventually(lambda: ended == ["ended"])
        client.close()
        eventually(lambda: ended == ["ended"])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("spawn", ["default", gevent.spawn_raw, 10])
def test_a_connection_lets_go_of_what_its_request_has_left(place: Callable[[], None], spawn: Any) -> None:
    through_a_server(place, spawn=spawn)


def test_a_request_that_ends_its_greenlet_lets_go() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        in_local()
        grow_old()
        raise gevent.GreenletExit

    with serving(application, error_log=None) as server, gevent.socket.create_connection(server.address) as client:
        client.settimeout(10)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with suppress(ConnectionError):
            assert client.recv(65536) == b""
        eventually(lambda: ended == ["ended"])


def test_what_somebody_else_refers_to_stays() -> None:
    kept = circle()
    kept_by_a_helper = circle().helpers[0]
    let_go([kept, kept_by_a_helper.wrapper, {"also": kept}])
    assert ended == []
    assert kept.callback() is kept and kept_by_a_helper.wrapper.callback() is kept_by_a_helper.wrapper


def test_what_another_request_holds_as_well_ends_with_the_last_of_them() -> None:
    one = circle()
    first, second = [one], [[one]]
    del one
    grow_old()
    let_go(first)
    assert ended == []
    let_go(second)
    assert ended == ["ended"]


def test_a_circle_is_found_again_although_it_was_somebody_elses_once() -> None:
    kept = circle()
    let_go([kept])
    held = [kept]
    del kept
    grow_old()
    assert ended == []
    let_go(held)
    gc.collect()
    assert ended == ["ended"]


def test_objects_are_not_asked_what_they_are() -> None:
    class Lazy:
        __slots__ = ("me",)

        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

    lazy = Lazy()
    object.__getattribute__(type(lazy), "me").__set__(lazy, [lazy])
    held = [{"lazy": lazy}]
    del lazy
    let_go(held)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was looked into, and what it refers to."""
    found, noted = gc.get_referents, []

    def get_referents(one: Any) -> list[Any]:
        others = found(one)
        noted.append((one, len(others)))
        return others

    monkeypatch.setattr(gc, "get_referents", get_referents)
    return noted


def test_the_search_is_bounded(looked: list[Any]) -> None:
    application: list[Any] = [[number] for number in range(100_000)]
    let_go([{"all of it": application}])
    assert len(looked) < 5
    let_go([{"much of it": [application[number : number + 100] for number in range(150)]}])
    assert sum(count for _, count in looked) < 4 * (holdings.FOLLOWED + holdings.MANY)


def test_what_the_application_shares_is_looked_into_once(looked: list[Any]) -> None:
    class Engine:
        parts: list[Any]

    engine = Engine()
    engine.parts = [SimpleNamespace() for _ in range(100)]
    let_go([{"engine": engine}])
    assert any(one is engine for one, _ in looked)
    looked.clear()
    let_go([{"engine": engine}])
    assert not any(one is engine for one, _ in looked)


def test_what_waits_as_it_ends_holds_up_nobody() -> None:
    def job() -> None:
        plain.connection = circle(Rollback(partial(gevent.sleep, 0.01)))

    crew = Crew()
    crew.do(job)
    crew.do(lambda: None)
    eventually(lambda: ended == ["begins", "rolled back"])


def part_of_a_circle(wait: Callable[[], object]) -> Rollback:
    """Return what only the collector can end."""
    found = Rollback(wait)
    found.me = found
    return found


@pytest.mark.parametrize("place", [in_local, in_attribute, in_context])
def test_what_is_left_while_a_finaliser_waits_is_let_go_of_after_it(place: Callable[[], None]) -> None:
    go, crew = Event(), Crew()

    def job() -> None:
        plain.connection = part_of_a_circle(go.wait)

    crew.do(job)
    eventually(lambda: ended == ["begins"])
    crew.do(place)
    crew.do(place)
    go.set()
    eventually(lambda: ended == ["begins", "rolled back", "ended", "ended"])


def test_what_waits_after_a_finaliser_that_waits_holds_up_nobody() -> None:
    crew = Crew()

    def job() -> None:
        plain.connection = part_of_a_circle(partial(gevent.sleep, 0.01))

    for _ in range(3):
        crew.do(job)
    eventually(lambda: ended == ["begins", "rolled back"] * 3)


@pytest.mark.parametrize("during", [False, True])
def test_what_a_circle_leads_to_waits_outside_the_collector_and_holds_up_nobody(*, during: bool) -> None:
    go, first = Event(), Event()
    if during:
        gevent.spawn(let_go, [part_of_a_circle(first.wait)])
        eventually(lambda: ended == ["begins"])
        ended.clear()
    crew = Crew()

    def job() -> None:
        plain.connection = circle(Rollback(go.wait))

    crew.do(job)
    crew.do(job)
    first.set()
    eventually(lambda: ended.count("begins") == 2)
    crew.do(in_local)
    eventually(lambda: "ended" in ended)
    go.set()
    eventually(lambda: ended.count("rolled back") == 2 + during)


def test_what_is_not_part_of_a_circle_does_not_wait_for_a_finaliser() -> None:
    go = Event()
    collection = gevent.spawn(let_go, [part_of_a_circle(go.wait)])
    eventually(lambda: ended == ["begins"])
    let_go([Resource()])
    assert ended == ["begins", "ended"]
    go.set()
    collection.get()


def wait_in_a_greenlet(collect: Callable[[], object]) -> tuple[Any, Callable[[], None]]:
    go = Event()
    drop(circle(Rollback(go.wait)))
    return gevent.spawn(collect), go.set


def wait_in_a_thread(collect: Callable[[], object]) -> tuple[Any, Callable[[], None]]:
    go = allocate_lock()
    go.acquire()
    drop(circle(Rollback(go.acquire)))
    return gevent.get_hub().threadpool.spawn(collect), go.release


def drop(_circle: Any) -> None:
    """Leave a circle to the collector."""


@pytest.mark.parametrize("begin", [wait_in_a_greenlet, wait_in_a_thread])
def test_what_is_left_during_a_collection_of_somebody_elses_is_let_go_of_after_it(begin: Callable[..., Any]) -> None:
    collection, go_on = begin(partial(gc.collect, 0))
    eventually(lambda: ended == ["begins"])
    let_go([circle()])
    assert ended == ["begins"]
    go_on()
    eventually(lambda: ended == ["begins", "rolled back", "ended"])
    collection.get()


def test_an_application_that_has_turned_the_collector_off_is_left_alone() -> None:
    held = [circle()]
    gc.disable()
    try:
        let_go(held)
        assert (held, ended) == ([], [])
    finally:
        gc.enable()


def test_it_leaves_no_reference_behind() -> None:
    value = SimpleNamespace()
    value.me = [value, value]
    before = sys.getrefcount(value)
    let_go([value, [value]])
    assert sys.getrefcount(value) == before
