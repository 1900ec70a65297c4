"""The garbage collector: off while modules are imported, and in no hurry while many requests wait.

Nothing is hidden from it: whatever is garbage can be collected, and :mod:`gc` finds every object. Knows nothing of what
is imported, nor of requests but how many greenlets serve them.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What Python begins with.
_DEFAULT = gc.get_threshold()
#: Objects that Python itself has frozen at its start (3.12 and newer).
_FROZEN = gc.get_freeze_count()
#: New containers of a request that waits. None of them is garbage; Python's threshold would have those of a thousand
#: requests looked at again and again.
EACH = 20
#: Greenlets whose containers are too few to count.
FEW = 64


@contextmanager
def uncollected() -> Iterator[None]:
    """Import without the collector, which would look at all that stays, again and again.

    What has been imported counts as old at the end, so that the next look at the young does not begin with it.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        _age()
        if enabled:
            gc.enable()


def _age() -> None:
    """Have all objects count as old without looking at them; those that somebody has frozen stay frozen."""
    if not somebody_froze():
        gc.freeze()
        gc.unfreeze()  # among the old


def somebody_froze() -> bool:
    """Return whether there are frozen objects besides Python's own, as after an operator's ``gc.freeze()``."""
    return gc.get_freeze_count() > _FROZEN


def share_memory() -> None:
    """Look at what has been loaded once, before a fork: what is left is old, and rarely looked at again.

    Each later look writes into every object, which unshares its page.
    """
    gc.collect()


class Patience:
    """How many new containers there may be before Python looks for garbage among them.

    It is Python's own threshold, and :data:`EACH` for each greenlet that serves: garbage is found as soon as it is as
    much as Python waits for, or as much as what is in use. An application that has chosen its thresholds keeps them.
    """

    __slots__ = ("_allowed", "_greenlets", "_ours")

    def __init__(self) -> None:
        self._greenlets = 0
        #: For how many greenlets the threshold allows.
        self._allowed = 0
        #: The thresholds as they were set here; None before the process serves, if it is not this package's.
        self._ours: tuple[int, int, int] | None = None

    def begin(self) -> None:
        """Set the thresholds from now on, unless the application has."""
        self._ours = _DEFAULT
        self._allow(self._allowed)

    @property
    def greenlets(self) -> int:
        """How many greenlets serve requests, or wait for one."""
        return self._greenlets

    def change(self, greenlets: int) -> None:
        """Change the number of greenlets that serve requests."""
        self._greenlets += greenlets
        if self._greenlets > self._allowed or self._greenlets < self._allowed >> 2 >= FEW >> 1:
            self._allow(1 << self._greenlets.bit_length())

    def _allow(self, greenlets: int) -> None:
        self._allowed = max(greenlets, FEW)
        if self._ours is None or gc.get_threshold() != self._ours:
            self._ours = None
            return
        extra = EACH * self._allowed if self._allowed > FEW else 0
        gc.set_threshold(_DEFAULT[0] + extra, *_DEFAULT[1:])
        self._ours = gc.get_threshold()


#: This process's.
patience = Patience()


def settle() -> None:
    """From now on serve: what has been loaded counts as old, and the threshold of the young follows the requests."""
    _age()
    patience.begin()
