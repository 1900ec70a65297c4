"""The table of the worst stalls by place."""

from __future__ import annotations

from geventwsgi.observe.stall_table import LONGEST, PLACES, Place, SharedStalls, worst

MS = 1_000_000


def test_stalls_at_one_place_are_added_up():
    table = SharedStalls(2).of(1)
    table.note("a.py:1", 3 * MS)
    table.note("a.py:1", 5 * MS)
    table.note("b.py:2", 1 * MS)
    assert set(table.places()) == {Place("a.py:1", 2, 8 * MS, 5 * MS), Place("b.py:2", 1, MS, MS)}


def test_the_places_with_the_most_time_stay():
    table = SharedStalls(1).of(0)
    for number in range(PLACES):
        table.note(f"{number}", (number + 2) * MS)
    table.note("short", 1 * MS)
    assert "short" not in {place.place for place in table.places()}
    table.note("long", 9 * MS)
    assert {place.place for place in table.places()} == {"long", *(str(number) for number in range(1, PLACES))}


def test_a_long_place_is_cut_between_characters():
    table = SharedStalls(1).of(0)
    table.note("é" * SIZE_OF_LONG, MS)
    table.note("é" * SIZE_OF_LONG, MS)
    (place,) = table.places()
    assert place.place == "é" * (LONGEST // 2)
    assert place.times == 2


SIZE_OF_LONG = 1000


def test_tables_are_merged_the_most_time_first():
    shared = SharedStalls(3)
    shared.of(0).note("a", 2 * MS)
    shared.of(2).note("a", 3 * MS)
    shared.of(1).note("b", 9 * MS)
    tables = [shared.of(index) for index in range(3)]
    assert worst(tables) == [Place("b", 1, 9 * MS, 9 * MS), Place("a", 2, 5 * MS, 3 * MS)]
    assert len(worst(tables, 1)) == 1
