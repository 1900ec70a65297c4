"""The fake keeps its word: what the gateway's tests rest on."""

from __future__ import annotations

import inspect

import pytest

from geventwsgi.errors import ClientDisconnected
from geventwsgi.wsgi.exchange import Exchange, ResponseHead
from tests.support.fake_exchange import FakeExchange, head_of


def test_it_has_every_member_of_the_interface_with_its_signature():
    exchange = FakeExchange()
    for name, member in vars(Exchange).items():
        if callable(member) and not name.startswith("_"):
            mine = vars(FakeExchange)[name]
            assert list(inspect.signature(mine).parameters) == list(inspect.signature(member).parameters), name
        elif not name.startswith("_"):
            assert hasattr(exchange, name), name


def test_reads_give_no_more_than_was_asked_for():
    exchange = FakeExchange(body=[b"abc", b"", b"d"])
    assert [exchange.read(2), exchange.read(2), exchange.read(2), exchange.read(2)] == [b"ab", b"c", b"d", b""]


def misuse_after(*calls):
    exchange = FakeExchange()
    for name, *arguments in calls:
        getattr(exchange, name)(*arguments)
    with pytest.raises(AssertionError):
        exchange.check()


START = ("start", head_of("200 OK"), None)


@pytest.mark.parametrize(
    "calls",
    [
        (),
        (START,),
        (START, ("write", b"x")),
        (("write", b"x"),),
        (("finish",),),
        (START, ("write", b"x"), START, ("finish",)),
        (START, ("finish",), ("finish",)),
        (START, ("finish",), ("write", b"x")),
        (START, ("finish",), ("abort",)),
        (("abort",), ("fail", 500)),
        (("start", ResponseHead("200 OK", 404, []), None), ("finish",)),
        (("start", ResponseHead("200 OK", 200, [("content-length", "1")], 2), None), ("write", b"x"), ("finish",)),
        (("read", 0), START, ("finish",)),
    ],
)
def test_misuse_is_found(calls):
    misuse_after(*calls)


@pytest.mark.parametrize("calls", [(START, ("finish",)), (START, START, ("write", b"x"), ("fail", 500)), (("abort",),)])
def test_proper_use_is_not_found_fault_with(calls):
    exchange = FakeExchange()
    for name, *arguments in calls:
        getattr(exchange, name)(*arguments)
    exchange.check()


def test_a_client_that_left_is_499():
    exchange = FakeExchange(disconnect_after=0)
    exchange.start(head_of("200 OK"), None)
    with pytest.raises(ClientDisconnected):
        exchange.write(b"x")
    assert exchange.status == 499
