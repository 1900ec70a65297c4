"""What one worker leaves to another, as values for JSON."""

from __future__ import annotations

import math
from typing import Any

import pytest

from geventwsgi.wsgi.named import by_name, is_plain, name_of, unpacked


class Outer:
    class Inner:
        pass

    def method(self) -> None:
        pass


def joined(facts: dict[str, Any]) -> list[Any]:
    return [*facts.items()]


@pytest.mark.parametrize("thing", [Outer, Outer.Inner, joined, Outer.method])
def test_what_has_a_name_is_found_by_it(thing: Any) -> None:
    name = name_of(thing)
    assert name is not None
    assert by_name(name) is thing


@pytest.mark.parametrize("thing", [lambda: None, Outer(), Outer().method, 3, None])
def test_other_things_have_none(thing: Any) -> None:
    assert name_of(thing) is None


def test_a_class_within_a_function_has_none() -> None:
    class Local:
        pass

    assert name_of(Local) is None


def test_one_that_has_been_replaced_has_none() -> None:
    former = type("Outer", (), {"__module__": __name__, "__qualname__": "Outer"})
    assert name_of(former) is None


def test_what_is_packed_is_made_by_the_function() -> None:
    assert unpacked((name_of(joined), {"a": 1})) == [("a", 1)]


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "\ud800", [1, "a", {"b": None}], {}])
def test_what_json_gives_back_as_it_is_is_plain(value: Any) -> None:
    assert is_plain(value)


@pytest.mark.parametrize("value", [b"", (1, 2), {1: 2}, {1, 2}, object(), math.nan, Outer])
def test_anything_else_is_not(value: Any) -> None:
    assert not is_plain(value)


def test_what_contains_itself_is_not() -> None:
    value: list[Any] = []
    value.append(value)
    assert not is_plain(value)
