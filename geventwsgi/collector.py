"""The garbage collector: off while modules are imported, away from what a fork shares, in no hurry while requests run.

Knows nothing of what is imported, nor of requests.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What Python begins with.
_DEFAULT = gc.get_threshold()
#: New containers, less those that have gone, after which the young are looked at. A request that waits has some twenty:
#: with Python's 700, a thousand that wait are looked at over and over again, and none of them is garbage.
YOUNG = 10_000


@contextmanager
def uncollected() -> Iterator[None]:
    """Import without the collector, which would look at all that stays, again and again: a tenth of the time.

    What is there at the end is not looked at later either, as it stays; after a fork its pages stay shared.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def share_memory() -> None:
    """Look at what has been loaded once, and never again: marks of the collector would unshare its pages."""
    gc.collect()
    gc.freeze()


def settle() -> None:
    """From now on serve: what has been loaded stays, and is not looked at again; what is new is, but more rarely.

    An application or a configuration that has chosen its own thresholds keeps them.
    """
    gc.freeze()
    if gc.get_threshold() == _DEFAULT:
        gc.set_threshold(YOUNG, *_DEFAULT[1:])
