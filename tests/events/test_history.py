"""A channel's memory: order, places, what came twice and what never came."""

from __future__ import annotations

import pytest

from geventwsgi.events.history import CURSOR_SIZE, NOTHING, PUBLISHERS, TICKET_BITS, Cursor, History, parse_cursor

WORLD, OTHER = "0" * 16, "1" * 16


def filled(*messages: tuple[str, int], keep: int = 10, counted: bool = True) -> History:
    history = History(keep, WORLD, counted=counted)
    for source, number in messages:
        history.append(source, number, f'"{source}{number}"')
    return history


def texts(history, position=0):
    return [message.text for message in history.since(position)[1]]


def test_a_message_knows_the_place_after_it():
    history = filled(("a", 1), ("b", 1), ("a", 2))
    assert [message.id for message in history.since(0)[1]] == [f"{WORLD}.{n}.{n}" for n in (1, 2, 3)]
    assert history.cursor(history.reach, history.total) == f"{WORLD}.3.3"
    assert repr(history.since(2)[1][0]) == f'<Message {WORLD}.3.3 "a2">'


def test_where_nothing_is_known_of_the_world_the_place_is_the_beginning():
    assert History(1).cursor(0, 0) == NOTHING


def test_what_came_twice_is_dropped():
    history = filled(("a", 1), ("a", 2))
    assert not history.append("a", 2, "")
    assert not history.append("a", 1, "")
    assert history.end == 2


def test_what_came_twice_is_known_by_its_ticket_however_late():
    history = History(2, WORLD)
    for ticket in range(1, 20):
        history.append(f"publisher {ticket}", 1, "", ticket=ticket)
    assert not any(history.append(f"publisher {ticket} again", 1, "", ticket=ticket) for ticket in range(1, 20))


def test_what_comes_out_of_turn_is_let_in_once():
    history = History(10, WORLD)
    for ticket in (1, 2, 4):
        history.append(str(ticket), 1, str(ticket), ticket=ticket)
    assert history.append("3", 1, "3", ticket=3)
    assert not history.append("3 again", 1, "3", ticket=3)
    assert texts(history) == ["1", "2", "4", "3"]
    assert [message.reach for message in history.since(0)[1]] == [1, 2, 4, 4]
    assert history.strays_until == 4


def test_a_publishers_earlier_message_does_not_come_after_its_later_one():
    history = filled(("a", 1), ("a", 3))
    assert not history.append("a", 2, "", ticket=1)
    assert [message.missed for message in history.since(0)[1]] == [0, 1]


def test_what_never_came_is_told():
    history = filled(("a", 1), ("a", 4), ("b", 9))
    assert [message.missed for message in history.since(0)[1]] == [0, 2, 0]
    assert history.total == 5
    assert filled(("r", 1), ("r", 400), counted=False).since(1)[1][0].missed == 0


def test_who_knows_of_more_messages_is_believed():
    history = filled(("a", 1))
    history.append("b", 1, "", total=10)
    assert [message.missed for message in history.since(0)[1]] == [0, 8]
    history.append("c", 1, "", total=4)
    assert history.total == 11


def test_keeps_at_least_so_many_and_at_most_twice():
    history = History(10, WORLD)
    for number in range(1, 1000):
        history.append("a", number, "")
        _, kept = history.since(0)
        assert min(number, 10) <= len(kept) <= 20
        assert kept[-1].number == number
    assert history.since(history.end) == (history.end, [])
    first, kept = history.since(0)
    assert first == kept[0].number - 1


def test_as_much_is_taken_as_there_is_room_for_but_one_in_any_case():
    history = History(10, WORLD)
    for size in (10, 10, 100, 10):
        history.append("a", history.end + 1, "x" * size)
    assert [len(history.since(position, room=20)[1]) for position in range(4)] == [2, 1, 1, 1]
    assert [len(history.since(position, until=2)[1]) for position in range(4)] == [2, 1, 0, 0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-",
        ".1.1",
        f"{WORLD}.1",
        f"{WORLD}.1.",
        f"{WORLD}.-1.1",
        f"{WORLD}.1٣.1",
        f"{WORLD}.1.1.1",
        f"{WORLD}.1.1\n",
        f"{WORLD}.1.1\0",
        f"{WORLD[1:]}.1.1",
        f"{WORLD}.{'9' * 46}.1",
        f"{WORLD}.1.{'9' * 19}",
        "é é",
        "a.1-b.2",
        "0" * 1_000_000,
    ],
    ids=lambda text: text[:24],
)
def test_a_text_that_is_no_cursor_names_nothing(text):
    assert parse_cursor(text) is None


def test_the_longest_cursor_is_short_and_stays_within_its_world():
    longest = f"{WORLD}.{'9' * 45}.{'9' * 18}"
    assert len(longest) <= CURSOR_SIZE
    cursor = parse_cursor(longest)
    assert cursor is not None
    assert cursor.ticket < 1 << TICKET_BITS
    history = filled(("a", 1))
    history.enter(OTHER, 0)
    history.append("b", 1, "new")
    position, _ = history.find(cursor)
    assert texts(history, position) == ["new"]


def test_goes_on_after_a_place():
    history = filled(("a", 1), ("b", 1), ("b", 2), ("a", 2))
    assert history.find(Cursor(WORLD, 2, 2)) == (2, 2)
    assert history.find(Cursor(WORLD, 9, 9)) == (4, 9)
    assert history.find(Cursor(OTHER, 2, 2)) is None


def test_a_place_among_tickets_of_others_is_found_too():
    history = History(10, WORLD)
    for ticket in (10, 20, 30):
        history.append("a", ticket, str(ticket), ticket=ticket)
    assert [history.find(Cursor(WORLD, ticket, 0))[0] for ticket in (9, 10, 19, 20, 29, 30, 31)] == [
        0,
        1,
        1,
        2,
        2,
        3,
        3,
    ]


def test_another_world_follows_on_whatever_its_tickets():
    history = History(10, WORLD, counted=False)
    history.append("r", 1000, "old", ticket=1000, total=50)
    before = Cursor(WORLD, 1000, 50)
    history.enter(OTHER, 6)
    history.append("r", 3, "new", ticket=3, total=7)
    assert texts(history) == ["old", "new"]
    assert [message.missed for message in history.since(0)[1]] == [0, 0]
    assert texts(history, history.find(before)[0]) == ["new"]
    assert texts(history, history.find(Cursor(OTHER, 3, 7))[0]) == []
    assert history.since(1)[1][0].id == f"{OTHER}.3.7"


def test_worlds_of_long_ago_are_forgotten():
    history = History(10)
    for number in range(20):
        history.enter(f"{number:016x}", 0)
    assert history.find(Cursor(f"{19:016x}", 0, 0)) is not None
    assert history.find(Cursor(f"{1:016x}", 0, 0)) is None


def test_forgets_publishers_that_are_silent_for_long():
    history = History(2, WORLD)
    for number in range(10_000):
        history.append(f"publisher {number}", 1, "")
    assert len(history._sources) <= PUBLISHERS + 4


def test_a_copy_for_one_subscriber_shares_what_is_sent():
    (message,) = filled(("a", 1)).since(0)[1]
    altered = message.altered(3).altered(4)
    assert (message.missed, altered.missed, altered.original) == (0, 4, message)


@pytest.mark.parametrize("messages", [0, 3])
def test_subscribers_at_the_end_share_the_text_of_their_place(messages):
    history = History(10, WORLD)
    for number in range(1, messages + 1):
        history.append("a", number, "1", ticket=number)
    assert history.place(99)[2] is history.place(99)[2]
    history.append("a", messages + 1, "1", ticket=messages + 1)
    assert history.place(99)[2] == history.cursor(messages + 1, messages + 1)
    history.enter("f" * 16, 7)
    assert history.place(history.reach)[2] == f"{'f' * 16}.0.7"
