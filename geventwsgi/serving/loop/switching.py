"""Switches to a greenlet without what gevent's hub does at each: ask who is left for a method ``switch_out``.

It is greenlet's own method, or in the compiled core (``_switching.pyx``) greenlet's C function.
"""

from __future__ import annotations

from contextlib import suppress

from greenlet import greenlet

__all__ = ["switch"]

#: Run the greenlet that is given until somebody switches back; return what that one says.
switch = greenlet.switch

with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.serving.loop._switching import switch  # type: ignore[no-redef]  # the twin in C
