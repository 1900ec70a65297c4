"""The garbage collector while modules are imported: off. Knows nothing of what is imported."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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
