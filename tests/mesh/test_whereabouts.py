"""Which worker holds a session, without workers."""

from __future__ import annotations

import os
import random

from geventwsgi.mesh.whereabouts import LIFETIME, UNIT, WAYS, Whereabouts, age_of, numbered, place_of

KEY = os.urandom(32)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_what_was_learned_is_found():
    table = Whereabouts(KEY)
    assert table.find("a") is None
    table.learn("a", (3, numbered(7, 6)))
    table.learn("b", (4095, numbered(9, 5)))
    assert table.find("a") == (3, 7)
    assert table.find("b") == (4095, 9)
    assert (age_of(numbered(9, 5)), place_of(numbered(9, 5))) == (9, 5)
    assert numbered(9, 5) < numbered(10, 0)
    assert table.find("c") is None


def test_the_last_word_counts():
    table = Whereabouts(KEY)
    table.learn("a", (3, numbered(7, 6)))
    table.learn("a", (4, numbered(8, 6)))
    assert table.find("a") == (4, 8)


def test_many_are_told_apart():
    table = Whereabouts(KEY)
    for number in range(20_000):
        table.learn(f"session {number}", (number % 4, numbered(number, 6)))
    found = [(number, seat) for number in range(20_000) if (seat := table.find(f"session {number}"))]
    assert len(found) > 19_900  # by chance a bucket may be too small
    assert [number for number, seat in found if seat != (number % 4, number)] == []


def test_its_size_is_bounded_and_the_one_not_used_longest_makes_room():
    clock = Clock()
    table = Whereabouts(KEY, WAYS, clock)  # one bucket
    for number in range(WAYS):
        table.learn(str(number), (1, numbered(number, 6)))
        clock.seconds += UNIT
    assert table.find("0") == (1, 0)  # used again
    table.learn("new", (2, numbered(2, 6)))
    assert table.find("new") == (2, 2)
    assert table.find("1") is None
    assert [table.find(str(number)) for number in (0, *range(2, WAYS))] == [(1, n) for n in (0, *range(2, WAYS))]


def test_what_is_not_used_is_forgotten():
    clock = Clock()
    table = Whereabouts(KEY, 64, clock)
    table.learn("a", (3, numbered(7, 6)))
    table.learn("b", (3, numbered(7, 6)))
    for _ in range(3):
        clock.seconds += UNIT * (LIFETIME - 1)
        assert table.find("a") == (3, 7)
    assert table.find("b") is None


def test_a_forgotten_one_makes_room_before_others():
    clock = Clock()
    table = Whereabouts(KEY, WAYS, clock)
    for number in range(WAYS):
        table.learn(str(number), (1, numbered(number, 6)))
    clock.seconds += UNIT * (LIFETIME + 1)
    table.learn("new", (1, numbered(1, 6)))
    assert sum(table.find(str(number)) is not None for number in range(WAYS)) == 0
    assert table.find("new") == (1, 1)


def test_two_masters_have_different_keys():
    one, other = Whereabouts(KEY), Whereabouts(bytes(32))
    assert one.digest(b"0", 12, b"cookie") != other.digest(b"0", 12, b"cookie")
    assert one.digest(b"0", 12, b"cookie") != one.digest(b"0", 12, b"choice")


def test_any_text_is_a_value():
    table = Whereabouts(KEY)
    for value in ("", "\0", "ü" * 100, "\ud800", "x" * 100_000):
        table.learn(value, (1, numbered(1, 6)))
        assert table.find(value) == (1, 1)


def test_words_of_anything_mislead_nobody():
    """Half-written and damaged entries are as good as none: what is returned is a slot and a number at the most."""
    table = Whereabouts(KEY, WAYS)
    chance = random.Random(25)
    for _ in range(200):
        for index in range(2 * WAYS):
            table._words[index] = chance.getrandbits(64)
        assert table.find("a") is None
        table.learn("a", (3, numbered(7, 6)))
        assert table.find("a") == (3, 7)


def test_processes_share_it():
    table = Whereabouts(KEY)
    pid = os.fork()
    if not pid:
        table.learn("a", (3, numbered(7, 6)))
        os._exit(0)
    os.waitpid(pid, 0)
    assert table.find("a") == (3, 7)
