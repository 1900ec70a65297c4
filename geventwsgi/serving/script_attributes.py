"""What scripts for pywsgi do to the server: they subclass it, set names of their own, and make environs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from geventwsgi.config.sources import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")
#: Seconds between two looks for signals.
LOOK = 0.5
_MISSING = object()


class Readable(Generic[T]):
    """A property that an instance may replace by an attribute of its own: pywsgi's server has none of that name."""

    def __init__(self, read: Callable[[Any], T]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Readable[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> T | Readable[T]:
        """Return the value; of the class, this object."""
        return self if instance is None else self._read(instance)


def check_arguments(spawn: Any, config: Any) -> None:
    """Check the arguments of these names of :class:`.WSGIServer`.

    :raises TypeError: one is of no use.
    """
    if not (config is None or isinstance(config, Config)):
        raise TypeError(f"config is {config!r}: pass a Config, or settings by name instead")
    if spawn is None:
        raise TypeError("spawn=None would run the application in the hub, where nothing can wait: leave it out")
    if not (spawn == "default" or isinstance(spawn, int) or hasattr(spawn, "spawn") or callable(spawn)):
        raise TypeError(f"spawn is {spawn!r}: pass 'default', a number, a pool, or what starts a greenlet")


def look_for_signals(loop: Any) -> Any:
    """Have Python call a script's signal handlers soon after a signal has come; return the timer that does it.

    gevent asks for signals before it runs the callbacks of the loop. Without the timer, a signal that comes while they
    run, such as INT, would be handled at the loop's next event only. Workers need none: they take signals as events.
    """
    timer = loop.timer(LOOK, LOOK, ref=False)
    timer.start(bool)  # any function: it is enough that the loop turns
    return timer


class OwnEnviron:
    """Calls an application with an environ that the server's subclass makes for each request, as pywsgi has it.

    :param make: the subclass's ``get_environ``.
    :param base: what it has returned when the server began: of the request's environ, the rest is the request's.
    """

    def __init__(self, application: Any, make: Callable[[], dict[str, Any]], base: Mapping[str, Any]) -> None:
        self.application = application
        self._make = make
        self._base = base

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Call it, and let the access log know what it has changed."""
        own = self._make()
        own.update({key: value for key, value in environ.items() if self._base.get(key, _MISSING) is not value})
        try:
            return self.application(own, start_response)  # type: ignore[no-any-return]  # PEP 3333's
        finally:
            environ.update(own)
