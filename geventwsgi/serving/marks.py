"""Whether a request has left something behind on the greenlet that ran it: what is asked after each one.

Both are Python's own, or in the compiled core (``_marks.pyx``) a look at a field of the interpreter's.
"""

from __future__ import annotations

from contextlib import suppress
from sys import getrefcount as references

from greenlet import getcurrent

__all__ = ["has_context", "references"]


def has_context() -> bool:
    """Return whether a context variable was set in the running greenlet."""
    return getcurrent().gr_context is not None


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.serving._marks import has_context, references  # type: ignore[no-redef]  # the twin in C
