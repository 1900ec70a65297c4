"""A connection that goes on in another worker, and what is known of its client there."""

from __future__ import annotations

import gc
import logging
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from gevent import sleep, spawn

from geventwsgi import clock
from geventwsgi.mesh import passing
from geventwsgi.serving.accept import connection as connection_module
from geventwsgi.serving.accept.acceptor import Acceptor
from geventwsgi.serving.moving import moves
from geventwsgi.serving.moving import takers as takers_module
from geventwsgi.serving.moving.facts import FACTS, Known
from geventwsgi.serving.moving.moves import Moves
from geventwsgi.serving.moving.takers import Takers
from tests.support.eventually import eventually
from tests.support.passing import Passings
from tests.support.serving import Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from geventwsgi.mesh.passing import Passing


@pytest.fixture
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passings]:
    made = Passings(tmp_path_factory.mktemp("p") / "d")
    yield made
    made.stop()


class Worker(NamedTuple):
    """One of two workers, with its own connection as well."""

    passing: Passing
    moves: Moves
    served: Served

    @property
    def heads(self) -> list[str]:
        """The targets that it has served."""
        return [exchange.head.target for exchange in self.served.gateway.exchanges]


@contextmanager
def worker(workers: Passings, **options: Any) -> Iterator[Worker]:
    with served(**options) as each:
        passing = workers.add()
        log: Any = logging.getLogger("tests")
        acceptor = Acceptor(None, each.service.capacity, log, lambda _: None, 1)
        acceptor.speaker = each.speaker
        yield Worker(passing, Moves(passing, acceptor, "here"), each)
        for connection in tuple(each.service.connections):
            connection.close()


@pytest.fixture
def two(workers: Passings) -> Iterator[tuple[Worker, Worker]]:
    with worker(workers) as one, worker(workers, trusted=True) as other:
        yield one, other


GET = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"


def settle(one: Worker) -> None:
    """Let a connection come to rest after a response."""
    one.served.client.sendall(GET % b"first")
    one.served.response()
    eventually(lambda: one.served.connection.exchange is None and one.served.connection.stream.parked)


def move(workers: Passings, one: Worker, other: Worker, head: bytes = b"") -> None:
    seat = workers.seat_of(other.passing)
    assert one.moves.send(one.served.connection, seat, head)
    one.served.connection.end()


def descriptors() -> int:
    """Return how many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_its_next_requests_are_served_there(workers: Passings, two: tuple[Worker, Worker]) -> None:
    one, other = two
    settle(one)
    move(workers, one, other, GET % b"second")
    assert one.served.response()[1] == b"ok"
    one.served.client.sendall(GET % b"third")
    assert one.served.response()[1] == b"ok"
    assert one.heads == ["/first"]
    assert other.heads == ["/second", "/third"]
    assert one.served.service.capacity.open() == 0
    assert other.served.service.capacity.open() == 2


def test_an_idle_one_waits_there(workers: Passings, two: tuple[Worker, Worker]) -> None:
    one, other = two
    settle(one)
    move(workers, one, other)
    eventually(lambda: other.served.service.capacity.open() == 2)
    one.served.client.sendall(GET % b"second")
    assert one.served.response()[1] == b"ok"
    assert other.heads == ["/second"]


def test_it_is_counted_as_accepted_once(workers: Passings, two: tuple[Worker, Worker]) -> None:
    one, other = two
    settle(one)
    move(workers, one, other, GET % b"second")
    one.served.response()
    assert [each.served.service.capacity.entered for each in two] == [1, 1]


def test_its_client_goes_along_and_whether_it_is_believed_is_judged_anew(
    workers: Passings, two: tuple[Worker, Worker]
) -> None:
    one, other = two
    settle(one)
    one.served.connection.move_to("192.0.2.7", 4711)
    move(workers, one, other, GET % b"second")
    one.served.response()
    (exchange,) = other.served.gateway.exchanges
    assert (exchange.remote_addr, exchange.remote_port, bool(exchange.trusted)) == ("192.0.2.7", 4711, True)


def test_it_comes_back_if_the_other_drains(workers: Passings, two: tuple[Worker, Worker]) -> None:
    one, other = two
    settle(one)
    other.served.service.draining = True
    move(workers, one, other, GET % b"second")
    assert one.served.response()[1] == b"ok"
    assert one.heads == ["/first", "/second"]
    assert one.served.service.capacity.open() == 1


def test_it_comes_back_if_the_other_is_full(workers: Passings, two: tuple[Worker, Worker]) -> None:
    one, other = two
    settle(one)
    other.served.service.capacity.connections = 1
    move(workers, one, other, GET % b"second")
    assert one.served.response()[1] == b"ok"
    assert one.heads == ["/first", "/second"]


def test_it_comes_back_if_the_other_dies(workers: Passings, two: tuple[Worker, Worker]) -> None:
    one, other = two
    settle(one)
    move(workers, one, other, GET % b"second")
    workers.die(other.passing)
    assert one.served.response()[1] == b"ok"
    assert one.heads == ["/first", "/second"]


def test_it_stays_if_the_other_has_gone(
    workers: Passings, two: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves, "LONG_PATIENCE", 0.05)
    one, other = two
    settle(one)
    workers.die(other.passing)
    move(workers, one, other, GET % b"second")
    assert one.served.response()[1] == b"ok"


def test_it_waits_while_the_way_is_full(
    workers: Passings, two: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    settle(one)
    monkeypatch.setattr(passing, "UNANSWERED", 0)
    moving = spawn(move, workers, one, other, GET % b"second")
    sleep(0)
    monkeypatch.setattr(passing, "UNANSWERED", 1)
    moving.get()
    assert one.served.response()[1] == b"ok"
    assert (one.heads, other.heads) == (["/first"], ["/second"])


def test_those_that_a_blocked_worker_has_not_accepted_yet_count(workers: Passings, two: tuple[Worker, Worker]) -> None:
    """This worker has their descriptors as well, so they count as its own until the answer comes."""
    one, other = two
    settle(one)
    capacity = one.served.service.capacity
    capacity.connections = 1
    for watcher in other.passing._heard.values():
        watcher.stop()
    move(workers, one, other)
    assert (capacity.open(), capacity.full) == (0, True)
    other.passing._heard[other.passing._listener].start(other.passing._accept, other.passing._listener)
    eventually(lambda: not capacity.full)


def test_it_does_not_wait_where_that_would_keep_new_connections_out(
    workers: Passings, two: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker of one session is blocked: those of others go on."""
    one, other = two
    settle(one)
    capacity = one.served.service.capacity
    capacity.parked.clear()  # it runs when it moves
    capacity.connections = 1
    monkeypatch.setattr(passing, "UNANSWERED", 0)
    moving = spawn(move, workers, one, other, GET % b"second")
    sleep(0)
    monkeypatch.setattr(passing, "UNANSWERED", 1)
    moving.get()
    assert one.served.response()[1] == b"ok"
    assert (one.heads, other.heads) == (["/first", "/second"], [])


def test_the_worker_that_has_accepted_it_is_remembered(workers: Passings, two: tuple[Worker, Worker]) -> None:
    one, other = two
    settle(one)
    home = workers.seat_of(one.passing)
    assert one.served.connection.home is None
    move(workers, one, other)
    eventually(lambda: other.served.service.capacity.open() == 2)
    made = next(each for each in other.served.service.connections if each is not other.served.connection)
    assert made.home == home
    assert Known.of(made).home == home
    with worker(workers) as third:
        assert other.moves.send(made, workers.seat_of(third.passing), b"")
        made.end()
        eventually(lambda: third.served.service.capacity.open() == 2)
        made = next(each for each in third.served.service.connections if each is not third.served.connection)
        assert made.home == home


def test_if_it_is_ended_while_it_waits_nothing_is_left(
    workers: Passings, two: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    settle(one)
    monkeypatch.setattr(passing, "UNANSWERED", 0)
    moving = spawn(move, workers, one, other, GET % b"second")
    sleep(0)
    moving.kill()
    assert one.served.client.recv(1) == b""


@pytest.mark.parametrize("leaves", [False, True])
def test_what_one_that_leaves_has_refused_is_decided_anew(
    workers: Passings, two: tuple[Worker, Worker], leaves: bool
) -> None:
    """Its successor may take it. What a worker refuses that is full is served here."""
    one, other = two
    settle(one)
    seat = workers.seat_of(other.passing)
    detached = one.served.connection.stream.detach()
    assert detached is not None
    if leaves:
        other.passing.slot.rise()
    one.moves._take_back(Known.of(one.served.connection), GET % b"second", seat, detached[0])
    one.served.connection.end()
    (made,) = one.served.service.connections
    assert made.stays() == (not leaves)


def test_a_client_that_leaves_on_the_way_leaves_nothing_behind(workers: Passings, two: tuple[Worker, Worker]) -> None:
    one, other = two
    settle(one)
    before = descriptors()
    move(workers, one, other, GET % b"second")
    one.served.client.close()
    eventually(lambda: not any(link.unanswered for link in one.passing._links.values()))
    eventually(lambda: one.served.service.capacity.open() == 0 and other.served.service.capacity.open() == 1)
    gc.collect()
    # The client's end and ours have gone; the link between the workers has two.
    assert descriptors() == before


def facts_with(flags: int = 0, host: bytes = b"192.0.2.1", size: int | None = None, rest: bytes = b"") -> bytes:
    return FACTS.pack(flags, 1, 0, 0, len(host) if size is None else size) + host + rest


@pytest.mark.parametrize(
    "facts",
    [
        b"",
        facts_with()[: FACTS.size - 1],
        facts_with(flags=128),
        facts_with(size=200),
        facts_with(host=b"\xff\xfe"),
        facts_with(rest=b"{"),
        facts_with(rest=b"[]"),
        facts_with(rest=b"null"),
        facts_with(rest=b"[" * 50000),
        facts_with(rest=b"\xff"),
    ],
    ids=["none", "short", "flags", "a short address", "no address", "cut", "a list", "null", "deep", "no text"],
)
def test_facts_that_are_wrong_are_refused(workers: Passings, two: tuple[Worker, Worker], facts: bytes) -> None:
    one, other = two
    back: list[int] = []
    fd = os.dup(one.served.client.fileno())
    assert one.passing.send(workers.seat_of(other.passing), "connection to here", facts, b"", fd, back.append)
    eventually(lambda: back == [fd])
    os.close(fd)
    assert other.served.service.capacity.open() == 1


def test_a_descriptor_that_is_no_client_is_refused(workers: Passings, two: tuple[Worker, Worker]) -> None:
    one, other = two
    back: list[int] = []
    facts = facts_with(host=b"")
    fd = os.open(os.devnull, os.O_RDWR)
    assert one.passing.send(workers.seat_of(other.passing), "connection to here", facts, b"", fd, back.append)
    eventually(lambda: back == [fd])
    os.close(fd)


class TestHandover:
    def give(self, workers: Passings, one: Worker, other: Worker, seconds: float = 10) -> None:
        seat = workers.seat_of(other.passing)
        one.moves.hand_over(lambda: [seat], clock.monotonic() + seconds)

    def test_an_idle_connection_is_served_there(self, workers: Passings, two: tuple[Worker, Worker]) -> None:
        one, other = two
        settle(one)
        self.give(workers, one, other)
        one.served.client.sendall(GET % b"second")
        assert one.served.response()[1] == b"ok"
        assert other.heads == ["/second"]
        assert one.served.service.capacity.open() == 0

    @pytest.mark.parametrize("state", ["drains", "is full", "has gone"])
    def test_it_stays_where_the_other_does_not_take_it(
        self, workers: Passings, two: tuple[Worker, Worker], state: str
    ) -> None:
        one, other = two
        settle(one)
        if state == "drains":
            other.served.service.draining = True
        elif state == "is full":
            other.served.service.capacity.connections = 1
        else:
            workers.die(other.passing)
        begun = clock.monotonic()
        self.give(workers, one, other, 0.2 if state == "has gone" else 100)
        assert clock.monotonic() - begun < 50  # it is not tried again and again
        one.served.client.sendall(GET % b"second")
        assert one.served.response()[1] == b"ok"
        assert one.heads == ["/first", "/second"]

    def test_a_request_that_runs_stays(self, workers: Passings, two: tuple[Worker, Worker]) -> None:
        one, other = two
        one.served.client.sendall(GET % b"first" + (GET % b"second")[:9])
        one.served.response()
        eventually(lambda: one.served.connection.stream.awaited)
        self.give(workers, one, other)
        one.served.client.sendall((GET % b"second")[9:])
        assert one.served.response()[1] == b"ok"
        assert other.heads == []

    def test_without_others_everything_stays(self, workers: Passings, two: tuple[Worker, Worker]) -> None:
        one, _ = two
        settle(one)
        one.moves.hand_over(list, clock.monotonic() + 10)
        assert one.served.service.capacity.open() == 1

    def test_one_that_is_too_large_to_be_passed_stays_and_the_others_leave(
        self, workers: Passings, two: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, other = two
        settle(one)
        monkeypatch.setattr(passing, "MOST", 10)
        begun = clock.monotonic()
        self.give(workers, one, other, 100)
        assert clock.monotonic() - begun < 50
        one.served.client.sendall(GET % b"second")
        assert one.served.response()[1] == b"ok"
        assert one.heads == ["/first", "/second"]

    def test_if_one_worker_has_gone_another_gets_everything(
        self, workers: Passings, two: tuple[Worker, Worker]
    ) -> None:
        one, other = two
        settle(one)
        gone = workers.add()
        seats = [workers.seat_of(gone), workers.seat_of(other.passing)]
        workers.die(gone)
        one.moves.hand_over(lambda: [*seats], clock.monotonic() + 100)
        one.served.client.sendall(GET % b"second")
        assert one.served.response()[1] == b"ok"
        assert other.heads == ["/second"]

    def test_nothing_is_sent_here_any_more_once_it_is_packed(
        self, workers: Passings, two: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, other = two
        settle(one)
        left: list[bool] = []
        send = one.passing.send

        def seen(*arguments: Any) -> bool:
            left.append(one.served.connection not in one.served.service.connections)
            return len(left) > 1 and send(*arguments)  # at first there is no room

        monkeypatch.setattr(one.passing, "send", seen)
        self.give(workers, one, other)
        assert left == [True, True]

    def test_one_whose_work_ends_while_the_others_are_sent_is_sent_as_well(
        self, workers: Passings, two: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Working:
            def __init__(self) -> None:
                self.looks = iter([True])

            def is_at_work(self) -> bool:
                return next(self.looks, False)

        one, other = two
        guest, connections = Working(), one.served.service.connections
        sent: list[Any] = []
        monkeypatch.setattr(one.moves, "_give", lambda connection, *_: sent.append(connection))
        connections.add(guest)
        self.give(workers, one, other)
        connections.discard(guest)
        assert guest in sent

    def test_who_has_the_fewest_connections_gets_them(self, workers: Passings, two: tuple[Worker, Worker]) -> None:
        one, other = two
        settle(one)
        full = workers.add()
        full.slot.count(0, 1000)
        seats = [workers.seat_of(full), workers.seat_of(other.passing)]
        one.moves.hand_over(lambda: seats, clock.monotonic() + 100)
        one.served.client.sendall(GET % b"second")
        assert one.served.response()[1] == b"ok"
        assert other.heads == ["/second"]

    def test_connections_spread_evenly_although_those_on_their_way_are_not_counted_there_yet(
        self, workers: Passings, two: tuple[Worker, Worker]
    ) -> None:
        one, other = two
        third = workers.add()
        third.slot.count(0, 3)
        takers = Takers(one.passing, lambda: [workers.seat_of(third), workers.seat_of(other.passing)])
        chosen = []
        for _ in range(4):  # none is answered meanwhile, since the loop does not turn
            seat = takers.next()
            assert one.passing.send(seat, "unknown", b"", b"", os.dup(0), os.close)
            chosen.append(seat)
        assert [chosen.count(workers.seat_of(each)) for each in (other.passing, third)] == [3, 1]

    def test_one_that_takes_nothing_is_tried_again_if_there_is_nobody_else(
        self, workers: Passings, two: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, other = two
        settle(one)
        monkeypatch.setattr(takers_module, "PATIENCE", 0.0)
        tries: list[tuple[int, int]] = []
        send = one.passing.send

        def busy(seat: tuple[int, int], *arguments: Any) -> bool:
            tries.append(seat)
            return len(tries) > 5 and send(seat, *arguments)

        monkeypatch.setattr(one.passing, "send", busy)
        self.give(workers, one, other)
        assert len(tries) == 6
        assert one.served.service.capacity.open() == 0

    def test_after_its_response_a_connection_goes_on_there(self, workers: Passings, two: tuple[Worker, Worker]) -> None:
        one, other = two
        begin_to_end(workers, one, other)
        one.served.client.sendall(GET % b"first" + GET % b"second")
        heads = [one.served.response()[0] for _ in range(2)]
        assert [b"connection: close" in head.lower() for head in heads] == [False, False]
        assert (one.heads, other.heads) == (["/first"], ["/second"])
        assert one.served.service.capacity.open() == 0

    @pytest.mark.parametrize("state", ["drains", "is full", "ends"])
    def test_one_that_is_not_taken_after_its_response_is_served_here(
        self, workers: Passings, two: tuple[Worker, Worker], state: str
    ) -> None:
        one, other = two
        begin_to_end(workers, one, other)
        if state == "drains":
            other.served.service.draining = True
        elif state == "is full":
            other.served.service.capacity.connections = 1
        else:
            for watcher in other.passing._heard.values():
                watcher.stop()
        one.served.client.sendall(GET % b"first")
        assert b"connection: close" not in one.served.response()[0].lower()
        eventually(lambda: one.passing.connections_at(workers.seat_of(other.passing)) or state != "ends")
        if state == "ends":
            other.passing.slot.rise()
            workers.die(other.passing)
        one.served.client.sendall(GET % b"second")
        one.served.response()
        assert (one.heads, other.heads) == (["/first", "/second"], [])

    def test_it_is_closed_after_its_response_where_nobody_goes_on(
        self, workers: Passings, two: tuple[Worker, Worker]
    ) -> None:
        one, other = two
        begin_to_end(workers, one, other)
        other.passing.slot.rise()
        one.served.client.sendall(GET % b"first")
        assert b"connection: close" in one.served.rest().lower()

    def test_it_is_closed_here_if_its_client_says_nothing_more(
        self, workers: Passings, two: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection_module, "LAST_CALL", 0.05)
        one, other = two
        begin_to_end(workers, one, other)
        other.served.service.draining = True
        one.served.client.sendall(GET % b"first")
        assert one.served.response()[1] == b"ok"
        assert one.served.rest() == b""

    def test_if_it_is_ended_while_it_waits_for_the_other_nothing_is_left(
        self, workers: Passings, two: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, other = two
        begin_to_end(workers, one, other)
        monkeypatch.setattr(passing, "UNANSWERED", 0)
        one.served.client.sendall(GET % b"first")
        assert one.served.response()[1] == b"ok"
        eventually(lambda: one.served.connection.stream.closed)
        one.served.connection.kill()
        assert one.served.rest() == b""
        assert one.served.service.capacity.open() == 0


def begin_to_end(workers: Passings, one: Worker, other: Worker) -> None:
    """Have one worker drain, while its connection has been silent; another goes on, as long as it sits there."""
    seat = workers.seat_of(other.passing)
    one.served.service.begin_to_leave(one.moves)
    one.moves._staying = lambda: [seat] if one.passing.sits(seat) else []
    one.served.service.begin_drain()
