"""The table of marks: what a request may leave where the next one would find it, if that used the same greenlet.

Each mark is a function, a request's code. It returns what an earlier request has left, "" if it finds nothing; then it
leaves ``user`` there, unless that is "". The modules beside this one fill the table, ``tests.support.apps.leaves``
serves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Mark(NamedTuple):
    """One way to leave something."""

    request: Callable[[str], Any]
    #: Whether it is a matter of threads, which are greenlets where the standard library is patched only.
    patched: bool
    #: The package that it needs.
    package: str | None
    #: Whether a greenlet that is used again, and not looked at, keeps it.
    stays: bool


MARKS: dict[str, Mark] = {}


def mark(
    *, patched: bool = False, package: str | None = None, stays: bool = True
) -> Callable[[Callable[[str], Any]], Callable[[str], Any]]:
    """Enter a function in the table."""

    def enter(request: Callable[[str], Any]) -> Callable[[str], Any]:
        MARKS[request.__name__] = Mark(request, patched, package, stays)
        return request

    return enter


#: What was kept outside of the greenlet, by mark; each mark keeps one thing.
KEPT: dict[str, Any] = {}
#: Longer than a child or a timer that a request leaves behind needs.
LATER, STILL_LATER = 0.01, 0.03


def user_of(found: Any) -> str:
    """Return the attribute that most marks leave."""
    return str(getattr(found, "user", ""))


def user_in(where: Any, user: str) -> str:
    """Return the attribute, and set it."""
    found = user_of(where)
    if user:
        where.user = user
    return found
