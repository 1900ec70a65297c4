"""A channel's memory: order, cursors, what came twice and what never came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.events.history import CURSOR_SOURCES, History, merged_cursor, parse_cursor


def filled(*messages: tuple[str, int], keep: int = 10, counted: bool = True) -> History:
    history = History(keep, counted=counted)
    for source, number in messages:
        history.append(source, number, f'"{source}{number}"')
    return history


def test_a_message_knows_the_place_after_it():
    history = filled(("a", 1), ("b", 1), ("a", 2))
    assert [message.id for message in history.since(0)[0]] == ["a.1", "a.1-b.1", "a.2-b.1"]
    assert history.cursor == "a.2-b.1"
    assert repr(history.since(2)[0][0]) == '<Message a.2-b.1 "a2">'


def test_what_came_twice_is_dropped():
    history = filled(("a", 1), ("a", 2))
    assert not history.append("a", 2, "")
    assert not history.append("a", 1, "")
    assert history.end == 2


def test_what_never_came_is_told():
    history = filled(("a", 1), ("a", 4), ("b", 9))
    assert [message.missed for message in history.since(0)[0]] == [0, 2, 0]
    assert filled(("r", 1), ("r", 400), counted=False).since(1)[0][0].missed == 0
    assert History(1).cursor == merged_cursor("", {}) == "0"


def test_keeps_at_least_so_many_and_at_most_twice():
    history = History(10)
    for number in range(1, 1000):
        history.append("a", number, "")
        kept, _ = history.since(0)
        assert min(number, 10) <= len(kept) <= 20
        assert kept[-1].number == number
    assert history.since(history.end) == ([], 0)
    kept, dropped = history.since(0)
    assert dropped == kept[0].number - 1


@pytest.mark.parametrize("text", ["", "-", "a", "a.", ".1", "a.-1", "a.x", "a.1٣", "a." + "9" * 25, "é é", "a.1.2"])
def test_a_text_that_is_no_cursor_has_seen_nothing(text):
    assert parse_cursor(text) == {}


def test_a_cursor_is_bounded():
    assert len(parse_cursor("-".join(f"a{number}.1" for number in range(1000)))) == CURSOR_SOURCES


def test_merging_goes_nowhere_back():
    assert merged_cursor("a.1-b.5", {"a": 3, "b": 2, "c": 1}) == "a.3-b.5-c.1"


def test_resumes_after_a_cursor_of_another_order():
    here = filled(("a", 1), ("b", 1), ("b", 2), ("a", 2))
    elsewhere = filled(("b", 1), ("a", 1))
    found, missed = here.after(parse_cursor(elsewhere.cursor))
    assert [(message.source, message.number) for message in found] == [("b", 2), ("a", 2)]
    assert missed == 0
    assert here.uncovered({"a": 2, "b": 3, "c": 1}) == {"b": 3, "c": 1}


def test_tells_what_was_dropped_before_a_cursor():
    history = filled(*(("a", number) for number in range(1, 100)))
    found, missed = history.after({"a": 5})
    assert found[0].number == 5 + missed + 1
    assert missed > 0


def test_forgets_publishers_that_are_silent_for_long():
    history = filled(("old", 1), keep=2)
    for number in range(1, 20):
        history.append("new", number, "")
    assert history.cursor == "new.19"


@given(st.lists(st.sampled_from("abc"), max_size=60), st.randoms(use_true_random=False), st.integers(0, 60))
def test_no_message_is_lost_or_doubled_by_a_change_of_worker(sources, random, at):
    """Two workers hear the same publishers in different orders; a subscriber goes from one to the other."""
    numbers: dict[str, int] = {}
    published = []
    for source in sources:
        numbers[source] = numbers.get(source, 0) + 1
        published.append((source, numbers[source]))
    streams = {source: [pair for pair in published if pair[0] == source] for source in set(sources)}
    orders = []
    for _ in range(2):
        rests = {source: list(stream) for source, stream in streams.items()}
        order = []
        while any(rests.values()):
            order.append(rests[random.choice([source for source, rest in rests.items() if rest])].pop(0))
        orders.append(order)
    first = filled(*orders[0][:at], keep=100)
    seen = [(message.source, message.number) for message in first.since(0)[0]]
    second = filled(*orders[1], keep=100)
    found, missed = second.after(parse_cursor(first.cursor))
    assert missed == 0
    assert sorted(seen + [(message.source, message.number) for message in found]) == sorted(published)
