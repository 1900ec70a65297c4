"""Switches to a greenlet. gevent's hub would look for a method ``switch_out`` of the current greenlet at each switch.

``switch`` is greenlet's own method, or in the compiled core (``_switching.pyx``) greenlet's C function.
"""

from __future__ import annotations

from contextlib import suppress

from greenlet import greenlet

__all__ = ["switch"]

#: Run the given greenlet until another one switches back; return the value that this one passes.
switch = greenlet.switch

with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.serving.loop._switching import switch  # type: ignore[no-redef]  # the twin in C
