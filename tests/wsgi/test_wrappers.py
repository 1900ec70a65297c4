"""What is known to change no piece of a body, and what only looks like it."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from geventwsgi.wsgi.wrappers import unwrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST, EXTRA = b"first", b"extra"


class Body:
    """The application's own iterable."""

    def __iter__(self) -> Iterator[bytes]:
        return iter([FIRST, b"second"])


def begun(iterable: Any) -> Any:
    """Return an iterable whose first piece has been sent."""
    assert next(iter(iterable)) == FIRST
    return iterable


def put_back(*pieces: bytes, before: Any) -> Any:
    """Return what a framework makes that has looked at pieces."""
    return itertools.chain(list(pieces), before)


def test_what_follows_a_piece_that_was_put_back_is_found() -> None:
    body = Body()
    assert unwrapped(begun(put_back(FIRST, before=body))) is body


def test_a_piece_that_was_put_back_and_was_not_sent_yet_is_no_part_of_the_body() -> None:
    chain = begun(put_back(FIRST, EXTRA, before=Body()))
    assert unwrapped(chain) is chain


def test_a_piece_that_an_inner_wrapper_has_yet_to_send_is_no_part_of_the_body() -> None:
    chain = put_back(EXTRA, before=Body())
    assert unwrapped(begun(put_back(FIRST, before=chain))) is chain


def test_a_body_whose_end_something_follows_is_not_found() -> None:
    chain = begun(itertools.chain([FIRST], Body(), [EXTRA]))
    assert unwrapped(chain) is chain


def test_werkzeugs_wrapper_is_known() -> None:
    pieces = iter(Body())
    assert unwrapped(pytest.importorskip("werkzeug.wsgi").ClosingIterator(pieces)) is pieces


def test_werkzeugs_wrapper_with_another_step_is_not() -> None:
    wrapper = pytest.importorskip("werkzeug.wsgi").ClosingIterator(Body())
    wrapper._next = functools.partial(lambda pieces: next(pieces).upper(), wrapper._next.args[0])
    assert unwrapped(wrapper) is wrapper
