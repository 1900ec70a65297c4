"""A server in the background (``daemon``): a session of its own, no terminal, and a launcher that waits for the start.

The launcher is the process that the operator has started. It ends when the server serves, or prints the reason why it
does not. So a script that starts a daemon need not sleep.
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

#: The launcher's exit status when the server ends without a report.
LOST = 1


class Launch:
    """The daemon's end of the pipe to the launcher."""

    def __init__(self, writer: int) -> None:
        self._writer = writer

    def tell(self, status: int, text: str = "") -> None:
        """Let the launcher print ``text`` and end with ``status``; a second call does nothing."""
        if self._writer >= 0:
            with suppress(OSError):  # the launcher has gone
                os.write(self._writer, bytes([status]) + text.encode(errors="replace")[:4000])
            self.forget()

    def forget(self) -> None:
        """Close the pipe. A worker does so as well, since the launcher waits until all ends are closed."""
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
        if _fork():  # the leader of a session can get a terminal again, its child cannot
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
    """Wait in the launcher for the daemon's report. A terminal may interrupt the launcher like any other command."""
    signals.forsake()
    for number in signals.numbers:
        original("signal", "signal")(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.numbers)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read() or bytes([LOST]) + b"gwsgi: the server ended before it could serve; see its error log\n"
    sys.stderr.write(said[1:].decode(errors="replace"))
    stdio.flush()
    os._exit(said[0])
