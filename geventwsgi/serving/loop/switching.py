"""Switches to a greenlet. gevent's hub would look for a method ``switch_out`` of the current greenlet at each switch.

Both functions are greenlet's own, or in the compiled core (``_switching.pyx``) greenlet's C functions.
"""

from __future__ import annotations

from contextlib import suppress

from greenlet import getcurrent as current
from greenlet import greenlet

__all__ = ["current", "switch"]

#: Run the given greenlet until another one switches back; return the value that this one passes.
switch = greenlet.switch

with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.serving.loop._switching import switch  # type: ignore[no-redef]  # the twin in C
