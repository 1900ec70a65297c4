"""Into the background (``daemon``): a session of its own, no terminal, and a launcher that waits for the outcome.

The launcher is the process that the operator started. It returns when the server serves, or prints why it does not, so
that a script which starts a daemon needs no sleep. Knows no worker and no log.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from geventwsgi.errors import StartupError
from geventwsgi.forks import close, own
from geventwsgi.observe.outputs import stdio
from geventwsgi.system.originals import original

if TYPE_CHECKING:
    from geventwsgi.system.signals import SignalPipe

#: The launcher's status when the server ends before it can say why.
LOST = 1


class Launch:
    """The pipe to the launcher, in the daemon."""

    def __init__(self, writer: int) -> None:
        self._writer = writer

    def tell(self, status: int, text: str = "") -> None:
        """Let the launcher print ``text`` and end with ``status``; a second call does nothing."""
        if self._writer >= 0:
            with suppress(OSError):  # nobody waits any more
                os.write(self._writer, bytes([status]) + text.encode(errors="replace")[:4000])
            self.forget()

    def forget(self) -> None:
        """Close the pipe, as a worker does: the launcher waits for the master alone."""
        if self._writer >= 0:
            close(self._writer)
            self._writer = -1


def daemonize(signals: SignalPipe, *, inherit: bool) -> Launch:
    """Go on in the background; in the process that called it, never return.

    :param inherit: ``enable_stdio_inheritance``.
    :raises StartupError: the system has no process left.
    """
    stdio.flush()
    reader, writer = os.pipe()
    with signals.held():
        if _fork():
            close(writer)
            _wait(signals, reader)
        os.setsid()
        if _fork():  # who leads a session may get a terminal again: its child may not
            os._exit(0)
    close(reader)
    stdio.detach(inherit=inherit)
    return Launch(writer)


def _fork() -> int:
    try:
        with own():
            return int(original("os", "fork")())
    except OSError as error:
        raise StartupError(f"cannot go into the background: {error.strerror}") from None


def _wait(signals: SignalPipe, reader: int) -> NoReturn:
    """Wait for the daemon's word in the launcher, which a terminal may interrupt as any other command."""
    signals.forsake()
    for number in signals.numbers:
        original("signal", "signal")(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.numbers)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read() or bytes([LOST]) + b"gwsgi: the server ended before it could serve; see its error log\n"
    sys.stderr.write(said[1:].decode(errors="replace"))
    stdio.flush()
    os._exit(said[0])
