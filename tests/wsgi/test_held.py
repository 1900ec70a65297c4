"""Responses that the gateway leaves with the exchange: when, with what, and how they are concluded."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from geventwsgi.errors import ClientDisconnected
from geventwsgi.wsgi.held import Held, Recall, recorded
from tests.support.fake_exchange import FakeExchange
from tests.support.gateway import run


class Silent(Held):
    first = b"first piece"

    def is_body(self, iterable):
        return isinstance(iterable, Body)


class Body:
    def __init__(self, *pieces):
        self.pieces = iter(pieces)
        self.closed = 0

    def __iter__(self):
        return self.pieces

    def close(self):
        self.closed += 1


def offering(body, held, exchange):
    def application(environ, start_response):
        exchange.offered = held
        start_response("200 OK", [("X-A", "1")])
        return body

    return application


def hold(*pieces, held=None, **options):
    """Return what became of a response with these pieces, whose first is to be held, and its body."""
    exchange = options.pop("exchange", None) or FakeExchange()
    body = Body(*pieces)
    return run(offering(body, held or Silent(), exchange), exchange, **options), body


def test_it_is_left_once_its_first_piece_has_been_sent():
    outcome, body = hold(Silent.first, b"not asked for")
    assert outcome.exchange.calls == ["start", "write", "hold"]
    assert outcome.exchange.body == Silent.first
    assert (body.closed, outcome.records, list(body.pieces)) == (0, [], [b"not asked for"])


def test_empty_pieces_before_do_not_matter():
    outcome, _ = hold(b"", Silent.first)
    assert outcome.exchange.call is not None


@pytest.mark.parametrize("piece", [bytes(bytearray(Silent.first)), b"another"])
def test_any_other_piece_keeps_the_greenlet(piece):
    outcome, body = hold(piece, Silent.first)
    assert outcome.exchange.call is None
    assert outcome.exchange.pieces == [piece, Silent.first]
    assert body.closed == 1
    (line,) = outcome.debug_lines
    assert line == (
        'The response to "GET / HTTP/1.1" from 192.0.2.7 keeps its greenlet: something may change the body on its way'
    )


def test_an_exchange_that_cannot_hold_it_keeps_the_greenlet():
    exchange = FakeExchange()
    exchange.holds = False
    outcome, body = hold(Silent.first, b"more", exchange=exchange)
    assert outcome.exchange.body == Silent.first + b"more"
    assert body.closed == 1
    assert "it cannot be sent without one" in outcome.debug_lines[0]


def conclude(outcome, error=None):
    call = outcome.exchange.call
    outcome.exchange.finished = error is None
    call.gateway.conclude(call, outcome.exchange, error)


def test_at_its_end_it_is_closed_and_recorded():
    outcome, body = hold(Silent.first)
    outcome.exchange.sent += 100
    conclude(outcome)
    assert body.closed == 1
    assert (outcome.record.resp.status, outcome.record.resp.sent) == ("200 OK", 111)
    assert outcome.record.environ["REQUEST_METHOD"] == "GET"
    assert outcome.exchange.calls[-1] == "hold"


def test_a_client_that_left_is_recorded():
    outcome, body = hold(Silent.first)
    outcome.exchange.status = 499
    conclude(outcome, ClientDisconnected("left"))
    assert body.closed == 1
    assert outcome.record.resp.status == "499 Client Closed Request"
    assert outcome.exchange.aborted
    assert outcome.errors == []


def test_a_failure_is_logged():
    outcome, body = hold(Silent.first)
    conclude(outcome, ValueError("broken"))
    assert body.closed == 1
    assert "ValueError: broken" in outcome.errors[0]
    assert outcome.exchange.aborted


def test_nothing_of_the_request_is_kept_if_nobody_looks():
    outcome, body = hold(Silent.first, record=False)
    call = outcome.exchange.call
    assert (call.environ, call.response, call.result) == (None, None, body)
    conclude(outcome)
    assert body.closed == 1


def test_what_an_access_log_shows_of_an_environ():
    assert recorded({"A": "text", "B": 1, "wsgi.input": SimpleNamespace(), "C": 1.5}) == {"A": "text", "B": 1, "C": 1.5}


class Later(Recall):
    def __init__(self):
        self.closed = 0

    def entries(self):
        return {"later": "come"}

    def close(self):
        self.closed += 1


def recalled(status="204 No Content", *, first=None, exchange=None, **options):
    """Return what became of a request for which the application is to be called again."""
    exchange = exchange or FakeExchange()
    body = Body(b"")

    def application(environ, start_response):
        if "later" not in environ:
            exchange.offered = Later()
        start_response(status if "later" not in environ else "200 OK", [("X-A", "1")])
        return body if first is None else first

    return run(application, exchange, **options), body


def test_an_application_that_waits_has_answered_nothing():
    outcome, body = recalled()
    assert outcome.exchange.calls == ["hold"]
    assert (body.closed, outcome.records) == (1, [])
    assert isinstance(outcome.exchange.call.result, Later)


@pytest.mark.parametrize(("status", "first"), [("200 OK", None), ("204 No Content", [b"x"]), ("403 No", [b"x"])])
def test_an_application_that_answers_is_not_called_again(status, first):
    exchange = FakeExchange()
    exchange.holds = status != "204 No Content"
    outcome, _ = recalled(status, first=first, exchange=exchange)
    assert outcome.exchange.call is None
    assert outcome.exchange.finished
    assert "is not called again" in outcome.debug_lines[0]


def test_both_calls_are_one_request_to_hooks_and_records():
    begun, ended = [], []
    hooks = {
        "pre_request": lambda request: begun.append(request.path),
        "post_request": lambda _request, environ, response: ended.append((environ["later"], response.status)),
    }
    outcome, body = recalled(**hooks)
    call = outcome.exchange.call
    assert (begun, ended) == (["/"], [])
    second = FakeExchange()
    call.started -= 10
    call.gateway.run(second, call)
    second.check()
    assert begun == ["/", "/"]
    assert ended == [("come", "200 OK")]
    assert body.closed == 2
    (record,) = outcome.records
    assert record.duration >= 10


def test_of_a_request_whose_client_leaves_while_it_waits_there_is_a_record():
    outcome, _ = recalled()
    call = outcome.exchange.call
    outcome.exchange.status = 499
    call.gateway.conclude(call, outcome.exchange, ClientDisconnected("left"))
    assert outcome.record.resp.status == "499 Client Closed Request"
    assert call.result.closed == 1
