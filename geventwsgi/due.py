"""What has work for the loop: it is woken by anything that happens, and called once soon afterwards."""

from __future__ import annotations


class Due:
    """See above. It is a base class and no ``Protocol``, since the compiled core then makes C calls."""

    __slots__ = ()

    def wake(self) -> None:
        """Have :meth:`advance` called soon. May be called at any time, also when there is nothing left to do."""
        raise NotImplementedError

    def advance(self) -> None:
        """Do what there is to do, without waiting; called in the hub."""
        raise NotImplementedError
