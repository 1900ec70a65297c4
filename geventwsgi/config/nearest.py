"""Find the word that a misspelt word was probably meant to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(word: str, candidates: Iterable[str], cutoff: float = 0.7) -> str | None:
    """Return the candidate most like `word`, or None if none is alike.

    :param cutoff: how alike, from 0 (anything) to 1 (the same).
    """
    from difflib import get_close_matches  # only an error needs it, every start would pay for it

    found = get_close_matches(word, list(candidates), n=1, cutoff=cutoff)
    return found[0] if found else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return ``"; did you mean 'X'?"`` to end a message with, or an empty string."""
    found = nearest(word, candidates)
    return f"; did you mean {found!r}?" if found else ""


def one_line(text: object) -> str:
    """Return the first line of the text of an exception or an object."""
    return str(text).strip().split("\n", 1)[0].rstrip()
