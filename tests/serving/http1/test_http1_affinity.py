"""Which worker a request belongs to, without workers and sockets."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from geventwsgi import clock
from geventwsgi.http.head import parse_head
from geventwsgi.http.limits import Leniency, Limits
from geventwsgi.mesh.whereabouts import Whereabouts, age_of, numbered
from geventwsgi.serving.http1 import http1_affinity
from geventwsgi.serving.http1.http1_affinity import HALF, Places, affinity_of, bytes_of, field_of, parameter_of
from geventwsgi.system.shared import SharedSlots, Slot
from tests.support.fake_exchange import make_head


class Workers:
    """Some workers in one process, by the order in which they have begun."""

    def __init__(self, count: int = 4) -> None:
        self.slots = SharedSlots(16)
        self.whereabouts = Whereabouts(os.urandom(32), 1024)
        self.taken: list[Slot] = []
        self.places: list[Places] = []
        for seat in range(count):
            self.begin(seat)

    def begin(self, seat: int) -> Slot:
        """Start one at a seat."""
        slot = self.slots.take()
        self.taken.append(slot)
        slot.sit(numbered(len(self.taken), seat))
        self.places.append(Places(slot, self.whereabouts))
        return slot

    def end(self, number: int) -> None:
        """End one."""
        self.slots.release(self.taken[number])

    def number_of(self, seat: tuple[int, int] | None) -> int | None:
        """Return which worker has a seat."""
        return None if seat is None else age_of(seat[1]) - 1


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    monkeypatch.setattr(http1_affinity, "AGAIN", 0.0)
    return Workers()


# Tokens


def test_a_token_leads_to_its_worker_from_each(workers: Workers) -> None:
    for number, places in enumerate(workers.places):
        token = places.own_token()
        assert token is not None
        assert [workers.number_of(each.by_token(token)) for each in workers.places] == [number] * 4
        assert {workers.number_of(each.by_token("0" * HALF + token[HALF:])) for each in workers.places} == {number}


def test_a_token_tells_nothing_and_is_long(workers: Workers) -> None:
    tokens = [places.own_token() for places in workers.places]
    assert len(set(tokens)) == 4
    assert all(token is not None and len(token) >= 24 for token in tokens)
    assert set(tokens).isdisjoint(places.own_token() for places in Workers().places)


def test_a_token_of_nobody_leads_nowhere(workers: Workers) -> None:
    assert workers.places[0].by_token("") is None
    assert workers.places[0].by_token("0" * 24) is None


def test_while_a_worker_is_replaced_each_of_the_two_keeps_its_clients(workers: Workers) -> None:
    places = workers.places[0]
    former = workers.places[1].own_token()
    workers.begin(1)
    later = workers.places[4].own_token()
    assert former is not None
    assert later is not None
    assert [workers.number_of(places.by_token(token)) for token in (former, later)] == [1, 4]
    workers.taken[1].rise()
    assert [workers.number_of(places.by_token(token)) for token in (former, later)] == [4, 4]
    workers.begin(1)
    assert [workers.number_of(places.by_token(token)) for token in (former, later)] == [4, 4]


def test_one_that_leaves_gives_its_clients_to_its_successor(workers: Workers) -> None:
    """A new client that it still serves; without a successor it is for other workers to give it a token."""
    assert workers.places[1].own_token() is not None
    workers.taken[1].rise()
    assert workers.places[1].own_token() is None
    workers.begin(1)
    assert [workers.number_of(each.by_token(str(workers.places[1].own_token()))) for each in workers.places] == [4] * 5


def test_a_token_of_one_that_has_ended_leads_nowhere_until_the_successor_begins(workers: Workers) -> None:
    places, token = workers.places[0], workers.places[1].own_token()
    assert token is not None
    workers.end(1)
    assert places.by_token(token) is None
    assert {workers.number_of(each.for_value(token)) for each in workers.places} in ({0}, {2}, {3})
    workers.begin(1)
    assert workers.number_of(places.by_token(token)) == 4


# Values that belong to a place


def test_all_workers_choose_the_same_one_for_a_value(workers: Workers) -> None:
    chosen = []
    for number in range(200):
        (one,) = {workers.number_of(places.for_value(f"192.0.2.{number}")) for places in workers.places}
        chosen.append(one)
    assert all(chosen.count(number) > 20 for number in range(4))


def test_when_one_ends_only_its_values_go_elsewhere(workers: Workers) -> None:
    values = [str(number) for number in range(200)]
    before = [workers.number_of(workers.places[0].for_value(value)) for value in values]
    workers.end(2)
    after = [workers.number_of(workers.places[0].for_value(value)) for value in values]
    assert all(one == other for one, other in zip(before, after, strict=True) if one != 2)
    assert {other for one, other in zip(before, after, strict=True) if one == 2} == {0, 1, 3}
    assert after == [workers.number_of(workers.places[0].for_value(value)) for value in values]
    workers.begin(2)
    again = [workers.number_of(workers.places[0].for_value(value)) for value in values]
    assert again == [4 if one == 2 else one for one in before]


def test_what_is_remembered_is_bounded(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1_affinity, "REMEMBERED", 10)
    places = workers.places[0]
    for number in range(100):
        assert places.for_value(str(number)) is not None
    assert len(places._chosen) <= 10


def test_without_workers_there_is_none() -> None:
    places = Workers(1).places[0]
    places._slot.rise()
    assert places.for_value("a") is None


# Sessions


def test_a_session_belongs_to_the_worker_that_has_made_it(workers: Workers) -> None:
    workers.places[2].learn("abc")
    assert {workers.number_of(places.of_session("abc")) for places in workers.places} == {2}
    assert workers.places[0].of_session("abd") is None


def test_it_ends_with_its_worker(workers: Workers) -> None:
    workers.places[2].learn("abc")
    workers.end(2)
    assert workers.places[0].of_session("abc") is None
    workers.begin(2)  # it has the same slot
    assert workers.places[0].of_session("abc") is None


def test_another_worker_does_not_take_it_over(workers: Workers) -> None:
    """A response that repeats what the client claims, in a worker that serves the request for want of the right one."""
    workers.places[2].learn("abc")
    workers.places[1].learn("abc")
    assert workers.number_of(workers.places[0].of_session("abc")) == 2
    workers.end(2)
    workers.places[1].learn("abc")
    assert workers.number_of(workers.places[0].of_session("abc")) == 1


def test_what_belongs_here_is_looked_up_seldom_and_not_once_the_worker_leaves(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: Any = FakeMoves()
    affinity = affinity_of("header", "mcp-session-id", moves, workers.places[0], None)
    workers.places[0].learn("abc")
    asked: list[str] = []
    find = workers.whereabouts.find
    monkeypatch.setattr(workers.whereabouts, "find", lambda value: (asked.append(value), find(value))[1])
    unused: Any = None
    for _ in range(3):
        assert not affinity.leads_away(unused, make_head(HEAD))
    workers.places[0].learn("abc")
    assert asked == ["abc"]
    workers.taken[0].rise()
    assert not affinity.leads_away(unused, make_head(HEAD))
    assert asked == ["abc"] * 2


@pytest.mark.parametrize("how", ["cookie:seat", "header:mcp-session-id"])
def test_fields_that_lead_here_are_not_read_again_until_the_worker_leaves(workers: Workers, how: str) -> None:
    workers.places[0].learn("abc")
    head = make_head(HEAD.replace("seat=one", f"seat={workers.places[0].own_token()}"))
    moves: Any = FakeMoves()
    affinity = affinity_of(*how.split(":"), moves, workers.places[0], None)
    unused: Any = None
    assert not affinity.leads_away(unused, head)
    assert head.fields.here_until > clock.monotonic()
    head.fields.items = ()  # they are not looked at
    assert not affinity.leads_away(unused, head)
    head.fields.items = (("Cookie", f"seat={workers.places[1].own_token()}"), ("Mcp-Session-Id", "other"))
    workers.places[1].learn("other")
    workers.taken[0].rise()
    assert affinity.leads_away(unused, head)


def test_a_cookie_that_leads_to_no_worker_is_read_again_by_the_response(workers: Workers) -> None:
    """Which replaces it."""
    unused: Any = None
    for number in range(20):
        head = make_head(f"GET / HTTP/1.1\nHost: a\nCookie: seat={number}")
        if workers.places[0].for_value(str(number)) == workers.places[0].own:
            assert not affinity_of("cookie", "seat", unused, workers.places[0], None).leads_away(unused, head)
            assert not head.fields.here_until


def test_what_is_settled_is_bounded(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1_affinity, "REMEMBERED", 10)
    for number in range(100):
        workers.places[0].settle(str(number), 60)
    assert len(workers.places[0]._settled) <= 10


def test_what_is_too_long_for_a_session_says_nothing(workers: Workers) -> None:
    for size, leads in ((256, True), (257, False)):
        found = {
            decide(workers, "cookie", "seat", f"GET / HTTP/1.1\nHost: a\nCookie: seat={number:0{size}}")
            for number in range(20)
        }
        assert (len(found) > 1) == leads


def test_a_worker_that_leaves_makes_none(workers: Workers) -> None:
    workers.taken[2].rise()
    workers.places[2].learn("abc")
    assert workers.places[0].of_session("abc") is None


# What a request says


HEAD = """
GET /mcp?a=1&sid=x%20y&sid=z HTTP/1.1
Host: a
Cookie: seat=one; other=two
MCP-Session-ID: abc
cookie: third=3
"""


def test_cookies() -> None:
    def value_of(name: str, request: str = HEAD) -> str | None:
        unused: Any = None
        return affinity_of("cookie", name, unused, unused, None).value_of(unused, make_head(request))

    assert [value_of(name) for name in ("seat", "other", "third", "eat", "Seat")] == ["one", "two", "3", None, None]
    assert value_of("seat", "GET / HTTP/1.1\nHost: a\nCookie: xseat=1;seat=2") == "2"
    assert value_of("seat", "GET / HTTP/1.1\nHost: a\nCookie: seat=2") == "2"
    assert value_of("seat", "GET / HTTP/1.1\nHost: a\nCookie: seat=2;") == "2"


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("sid=1", "1"), ("a=sid&sid=1&sid=2", "1"), ("", None), ("a=sid", None), ("sid", ""), ("%73id=1", "1"),
        ("sid=a%2Bb+c", "a+b c"), ("xsid=1", None), ("sid=%ff%", "ÿ%"),
    ],
)  # fmt: skip
def test_parameters(query: str, value: str | None) -> None:
    assert parameter_of(query, "sid") == value


def test_fields() -> None:
    fields = make_head(HEAD).fields
    assert field_of(fields, "mcp-session-id") == "abc"
    assert field_of(fields, "session-id") is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\nPOST /x?y=z HTTP/1.1\r\nhost:a\r\nContent-Length:   3 \r\n\r\nabc",
        b"GET http://a/x HTTP/1.0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\nX: \xfc\r\n\r\n",
    ],
)
def test_the_bytes_of_a_head_are_those_that_came(data: bytes) -> None:
    head = parse_head(data, Limits())
    assert head is not None
    found = bytes_of(head)
    assert found is not None
    assert found == data[head.size - len(found) : head.size]
    again = parse_head(found, Limits())
    assert again is not None
    assert (again.method, again.target, again.version, again.fields.items) == (
        head.method, head.target, head.version, head.fields.items,
    )  # fmt: skip


def test_a_head_that_was_let_through_is_not_sent_as_another() -> None:
    """Its line is not known byte for byte; what is returned means the same, or nothing is."""
    leniency = Leniency(version=True, method=True, casefold=True)
    for line in (b"get / HTTP/1.1", b"GET / HTTP/1.10", b"GET / HTTP/2.0", b"GET  / HTTP/1.1"):
        try:
            head = parse_head(line + b"\r\nHost: a\r\n\r\n", Limits(), leniency=leniency)
        except ValueError:
            continue
        except OSError:
            continue
        assert head is not None
        found = bytes_of(head)
        if found is not None:
            again = parse_head(found, Limits(), leniency=leniency)
            assert again is not None
            assert (again.method, again.target, again.version) == (head.method, head.target, head.version)


# The decision


class FakeMoves:
    """Notes where connections were sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[tuple[int, int], bytes]] = []

    def send(self, _connection: Any, seat: tuple[int, int], head: bytes) -> bool:
        self.sent.append((seat, head))
        return True


def decide(workers: Workers, how: str, name: str, request: str, **connection: Any) -> int | None:
    """Return the worker that the first one sends a request to; None if it serves the request itself."""
    moves: Any = FakeMoves()
    client_of = connection.pop("client_of", None)
    affinity = affinity_of(how, name, moves, workers.places[0], client_of)
    peer: Any = SimpleNamespace(**{"remote_addr": "192.0.2.1", "trusted": False, "home": None, **connection})
    left = affinity.leads_away(peer, make_head(request))
    assert left == bool(moves.sent)
    return workers.number_of(moves.sent[0][0]) if left else None


def test_by_cookie(workers: Workers) -> None:
    def ask(cookie: str) -> int | None:
        return decide(workers, "cookie", "seat", f"GET / HTTP/1.1\nHost: a\nCookie: {cookie}")

    assert [ask(f"seat={places.own_token()}") for places in workers.places] == [None, 1, 2, 3]
    assert ask("other=1") is None
    token = workers.places[1].own_token()
    workers.end(1)
    chosen = workers.number_of(workers.places[0].for_value(str(token)))
    assert ask(f"seat={token}") == (chosen or None)


def test_by_query(workers: Workers) -> None:
    workers.places[3].learn("x y")
    workers.places[0].learn("mine")
    for query, chosen in (("sid=x+y", 3), ("sid=mine", None), ("sid=unknown", None), ("a=1", None)):
        assert decide(workers, "query", "sid", f"GET /?{query} HTTP/1.1\nHost: a") == chosen


def test_by_header(workers: Workers) -> None:
    workers.places[2].learn("abc")
    assert decide(workers, "header", "Mcp-Session-Id", HEAD) == 2
    assert decide(workers, "header", "Other", HEAD) is None


def test_a_request_of_no_session_goes_back_to_the_worker_that_has_accepted_its_connection(workers: Workers) -> None:
    """Else new sessions would begin where a busy session of the same proxy has drawn its connections."""

    def ask(sid: str, home: int | None) -> int | None:
        seat = None if home is None else workers.places[home].own
        return decide(workers, "query", "sid", f"GET /?{sid} HTTP/1.1\nHost: a", home=seat)

    workers.places[2].learn("known")
    workers.places[0].learn("mine")
    assert [ask("", home) for home in (None, 0, 1, 3)] == [None, None, 1, 3]
    assert [ask("sid=known", home) for home in (None, 0, 1, 3)] == [2, 2, 2, 2]
    assert [ask("sid=mine", home) for home in (None, 1)] == [None, None]
    seat = workers.places[1].own
    workers.end(1)
    assert decide(workers, "query", "sid", "GET / HTTP/1.1\nHost: a", home=seat) is None


def test_by_address(workers: Workers) -> None:
    def ask(**connection: Any) -> int | None:
        return decide(workers, "address", "", "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 203.0.113.9", **connection)

    def chosen(address: str) -> int | None:
        return workers.number_of(workers.places[0].for_value(address)) or None

    def client_of(fields: Any) -> tuple[str, int]:
        return field_of(fields, "x-forwarded-for") or "", 0

    for number in range(20):
        address = f"192.0.2.{number}"
        assert ask(remote_addr=address) == chosen(address)
        assert ask(remote_addr=address, client_of=client_of) == chosen(address)  # not trusted
        assert ask(remote_addr=address, trusted=True, client_of=client_of) == chosen("203.0.113.9")
    assert ask(remote_addr="") is None
