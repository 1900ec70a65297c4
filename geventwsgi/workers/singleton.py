"""A function that runs in one worker of the master at a time: a scheduler, a poller (:func:`once`)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

import gevent

from geventwsgi.clock import monotonic
from geventwsgi.mesh.place import HERE

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.mesh.claims import Claims

Function = TypeVar("Function", bound="Callable[..., Any]")

#: Seconds between two tries of a worker to become the one that runs a function.
INTERVAL = 0.5
#: The most seconds between two calls of a function that fails.
LONGEST = 30.0
#: Seconds that a worker which ends gives a function that was told to end, before the process does.
PATIENCE = 1.0

_known: dict[str, Single] = {}


@overload
def once(name: str, /) -> Callable[[Function], Function]: ...
@overload
def once(name: str, function: Function, /, *args: Any) -> Function: ...
def once(name: str, function: Callable[..., Any] | None = None, /, *args: Any) -> Any:
    """Run ``function(*args)`` in a greenlet of exactly one worker of the master; also a decorator, ``@once(name)``.

    It begins when the worker begins to serve. When that worker is told to end, ``GreenletExit`` is raised in the
    function; once it has ended, or the worker has died, another worker begins it within a second, anew. If it returns,
    it is not called again while that worker lives. If it raises, the traceback is logged and it is called again, here
    or in another worker. In a process without a master it begins at once.

    :param name: names it among the functions of the application.
    :returns: the function.
    :raises ValueError: this process has another function of that name.
    """
    if function is None:
        return partial(once, name)
    if name in _known:
        raise ValueError(f"once({name!r}) has a function already in this process: give each function a name of its own")
    single = _known[name] = Single(name, partial(function, *args))
    if HERE.claims is None or HERE.arrived:
        single.begin()
    else:
        HERE.on_arrival(single)
    return function


class Single:
    """One such function, as this process sees it."""

    def __init__(self, name: str, function: Callable[[], Any]) -> None:
        self._name = name
        self._function = function
        self._claims: Claims | None = None
        self._greenlet: Any = None

    def begin(self) -> None:
        """See :class:`~geventwsgi.mesh.place.Newcomer`."""
        self._claims = HERE.claims
        self._greenlet = gevent.spawn(self._live)
        HERE.on_departure(self)

    def wait(self) -> None:
        """See :class:`~geventwsgi.mesh.place.Newcomer`."""

    def begin_to_leave(self) -> None:
        """Have the function end, so that another worker may begin it."""
        if self._greenlet.ready():
            self._give_back()
        else:
            self._greenlet.kill(block=False)

    def hand_over(self) -> None:
        """Give the function a moment to end."""
        self._greenlet.join(PATIENCE)

    def _live(self) -> None:
        """Wait for the claim, then call the function until it returns."""
        try:
            pause = INTERVAL
            while True:
                while not self._has_claim():
                    gevent.sleep(INTERVAL)
                begun = monotonic()
                if self._call():
                    return
                if monotonic() - begun > LONGEST:
                    pause = INTERVAL
                gevent.sleep(pause)
                pause = min(2 * pause, LONGEST)
        except gevent.GreenletExit:
            self._give_back()

    def _has_claim(self) -> bool:
        return self._claims is None or self._claims.take(self._name)

    def _give_back(self) -> None:
        if self._claims is not None:
            self._claims.give_back(self._name)

    def _call(self) -> bool:
        """Call the function; return whether it has returned."""
        try:
            self._function()
        except gevent.GreenletExit:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit included: it is one function's failure, not the worker's
            HERE.complain("once(%r) failed and is tried again", self._name, error=error)
            self._give_back()
            return False
        return True
