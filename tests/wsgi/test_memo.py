from __future__ import annotations

import pytest

from geventwsgi.wsgi.memo import KEY_LIMIT, LIMIT, Memo


def test_a_value_is_computed_once():
    calls = []
    memo = Memo(lambda key: calls.append(key) or key.upper())
    assert [memo["a"], memo["a"], memo["b"]] == ["A", "A", "B"]
    assert calls == ["a", "b"]


def test_what_a_client_can_fill_is_bounded_in_number():
    memo = Memo(str.upper)
    for number in range(LIMIT * 3):
        assert memo[f"x{number}"] == f"X{number}"
        assert len(memo) <= LIMIT


def test_what_a_client_can_fill_is_bounded_in_size():
    memo = Memo(str.upper)
    assert memo["x" * (KEY_LIMIT + 1)] == "X" * (KEY_LIMIT + 1)
    assert not memo


def test_a_failure_is_not_remembered():
    def refuse(key):
        raise ValueError(key)

    memo = Memo(refuse)
    for _ in range(2):
        with pytest.raises(ValueError, match="bad"):
            memo["bad"]
    assert not memo


def test_a_key_that_claims_to_equal_another_is_not_taken_for_it():
    class Equal(str):
        __slots__ = ()

        def __eq__(self, other):
            return True

        __hash__ = str.__hash__

    memo = Memo(lambda key: str.__str__(key).upper())
    assert memo["a"] == "A"
    liar = type("Liar", (Equal,), {"__hash__": lambda self: hash("a")})("b")
    assert memo[liar] == "B"
    assert len(memo) == 1
