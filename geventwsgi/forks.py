"""Possessions of one process, which are released in every process that somebody forks from it.

The master forks workers and knows what they need (:func:`own`). Any other process that is forked, by ``os.fork``,
``multiprocessing`` or ``subprocess`` with ``preexec_fn``, in a request, in a hook or at import, is a stranger: it is no
worker. Its signals have their default actions, and every :class:`Possession` of its parent has been released. If its
code came back into the server's, the process would end (:func:`leave`).

Knows processes, signals and descriptors; knows nothing of gevent, sockets and settings.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as the interpreter has it: gevent patches that of the library
import os
import sys
import traceback
from _thread import _local
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn, Protocol
from weakref import WeakKeyDictionary

try:
    # gevent's close waits for the loop, which may never turn in a master or a stranger.
    from posix import close as close  # noqa: PLC0414 - for others
except ImportError:  # Windows
    from os import close as close  # noqa: PLC0414 - the same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

#: Where a child of gevent's ``subprocess`` begins, which executes another program at once.
_EXECUTES = ("gevent.os", "gevent.subprocess")


class Possession(Protocol):
    """Something that belongs to one process: descriptors, watchers, greenlets."""

    def let_go(self) -> None:
        """Release it in a stranger, without an effect on its own process: send nothing, shut nothing down."""


class _Process:
    """The possessions, signals and forks of this process."""

    def __init__(self) -> None:
        #: In the order in which they came.
        self.possessions: WeakKeyDictionary[Possession, None] = WeakKeyDictionary()
        #: The signals that the server takes, each with the handler that Python knew of at that time.
        self.signals: dict[int, Any] = {}
        #: What the child does first of a fork by the server that is under way; None if there is none.
        self.own: Callable[[], object] | None = None


class _Fork(_local):
    """The fork that this thread has under way."""

    #: The signals that were blocked before; None if there is nothing to restore.
    mask: set[int] | None = None


_here = _Process()
_fork = _Fork()
#: Objects that must live as long as the process: a greenlet without a reference is ended, and its ``finally`` blocks
#: run. The list contains itself, so that the end of the interpreter does not free it either.
_held: list[Any] = []
_held.append(_held)


def keep(possession: Possession) -> None:
    """Have ``possession`` released in strangers, as long as it lives or until :func:`release`."""
    _here.possessions[possession] = None


def release(possession: Possession) -> None:
    """Forget ``possession``; a second call does nothing."""
    _here.possessions.pop(possession, None)


def hold(*things: object) -> None:
    """Keep objects of the parent alive in a stranger, so that not even their finalisers run."""
    _held.extend(things)


def displace(*descriptors: int) -> None:
    """Replace descriptors by the null device. The parent keeps their files; their owners may close them."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in descriptors:
        if fd >= 0:
            with suppress(OSError):
                os.dup2(null, fd, inheritable=False)
    close(null)


def take_signals(numbers: Iterable[int]) -> None:
    """Have signals act by default in strangers; called after the server has set its own handlers.

    A handler that an application sets later with :func:`signal.signal` stays.
    """
    _here.signals.update((number, _signal.getsignal(number)) for number in numbers)


def give_back_signals(numbers: Iterable[int]) -> None:
    """Undo :func:`take_signals`."""
    for number in numbers:
        _here.signals.pop(number, None)


@contextmanager
def own(first: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Let processes that are forked in this block keep everything. The caller releases what they must not have.

    :param first: called in the child before the functions of others (``os.register_at_fork``), which may start threads.
    """
    _here.own = first
    try:
        yield
    finally:
        _here.own = None


def begin() -> None:
    """Begin as a process of the server that has nothing yet; called in a child that :func:`own` forked."""
    _here.__init__()  # type: ignore[misc]  # all fields anew


def leave(error: BaseException | None = None) -> NoReturn:
    """End a stranger, without what its parent would do at its own end (``atexit``, hooks, a drain).

    :param error: what ended it. The status is that of ``SystemExit``, 0 without an error, else 1 after a traceback.
    """
    status = 0
    with suppress(Exception):
        if isinstance(error, SystemExit):
            status = _status(error.code)
        elif error is not None:
            status = 1
            traceback.print_exception(error)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # None, a full disk, closed
            stream.flush()
    os._exit(status)


def _status(code: object) -> int:
    """Return Python's exit status for ``SystemExit.code``."""
    if code is None or isinstance(code, int):
        return int(code or 0) & 0xFF
    print(code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    return 1


def _before() -> None:
    """Block the server's signals: in a child the parent's handlers would get them until they are replaced."""
    if _here.signals and _here.own is None:
        _fork.mask = set(_signal.pthread_sigmask(_signal.SIG_BLOCK, _here.signals))


def _unblock() -> None:
    mask, _fork.mask = _fork.mask, None
    if mask is not None:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)


def _in_child() -> None:
    if _here.own is not None:
        _here.own()
        return
    possessions, signals = tuple(_here.possessions), _here.signals
    begin()
    if possessions and not _executes(sys._getframe().f_back):  # noqa: SLF001 - there is no other way to ask
        hold(possessions)
        for possession in possessions:
            try:
                possession.let_go()
            except Exception:  # noqa: BLE001 - the others are released all the same
                traceback.print_exc()
    for number, known in signals.items():
        _reset(number, known)
    _unblock()


def _executes(frame: FrameType | None) -> bool:
    """Return whether the forked process executes another program at once, which ends everything.

    To release many possessions takes milliseconds, which the program need not wait for.
    """
    caller = frame and frame.f_back
    if frame is None or caller is None:
        return False
    names = frame.f_globals.get("__name__"), caller.f_globals.get("__name__")
    return names == _EXECUTES and caller.f_locals.get("preexec_fn", frame) is None


def _reset(number: int, known: object) -> None:
    """Have a signal act by default, unless the application has set a handler after the server."""
    handler = _signal.getsignal(number)  # set anew even if it stays, since the loop may have removed it
    if handler == known:
        handler = _signal.default_int_handler if number == _signal.SIGINT else _signal.SIG_DFL
    with suppress(OSError, ValueError, TypeError):  # not in the main thread; a handler that is not Python's
        _signal.signal(number, handler)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_unblock, after_in_child=_in_child)
