"""The order of tickets: what waits, what is given up, what comes late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.mesh.order import Order


def popped(order):
    items = []
    while (item := order.pop()) is not None:
        items.append(item)
    return items


def put(order, *tickets):
    for ticket in tickets:
        order.put(ticket, ticket, 1)
    return popped(order)


@given(st.permutations(range(1, 40)), st.integers(1, 40))
def test_whatever_the_order_of_coming_they_leave_in_order(tickets, step):
    order = Order(0, 1000)
    left = []
    for start in range(0, len(tickets), step):
        left += put(order, *tickets[start : start + step])
    assert left == sorted(tickets)
    assert not order.blocked
    assert order.items() == []


def test_what_waits_is_known():
    order = Order(10, 100)
    assert put(order, 11, 13, 15) == [11]
    assert order.blocked
    assert (order.newest, order.items()) == (15, [13, 15])
    assert put(order, 12) == [12, 13]


def test_what_is_given_up_is_waited_for_no_longer():
    order = Order(0, 100)
    assert put(order, 3, 5, 8) == []
    order.give_up(5)
    assert popped(order) == [3, 5]
    assert order.blocked
    order.give_up(100)
    assert popped(order) == [8]
    assert put(order, 101) == [101]


def test_what_comes_after_it_was_given_up_goes_through():
    order = Order(0, 100)
    put(order, 3)
    order.give_up(3)
    assert put(order, 2, 1, 4) == [2, 1, 3, 4] or popped(order) == []


def test_a_second_one_of_the_same_ticket_is_dropped():
    order = Order(0, 100)
    order.put(2, "first", 1)
    order.put(2, "second", 1)
    order.put(1, "one", 1)
    assert popped(order) == ["one", "first"]


def test_what_waits_is_bounded():
    order = Order(0, 100)
    for ticket in range(2, 1000):
        order.put(ticket, ticket, 10)
        assert len(order.items()) <= 11
        popped(order)
    assert not order.blocked
