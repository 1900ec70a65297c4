"""Sinks of log lines: a file, a standard stream, an object with ``write``.

A sink never raises an exception into the request that logs. A write that fails (a full disk, a closed pipe) is reported
once on stderr and counted, and each later line tries again.

A line is one ``write`` of an ``O_APPEND`` descriptor, so that several processes share a file without tearing lines.
Where a loop turns, the lines of one turn may be gathered into one ``write`` (:meth:`Sink.gather`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, Any

from geventwsgi.forks import close
from geventwsgi.trusted import Untrusted, open_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    #: Calls a function at the end of this turn of the loop.
    Later: TypeAlias = Callable[[Callable[[], None]], object]

# The mode of a log file, whatever the umask (gunicorn's setting makes it 0): others may read it, not write it.
_MODE = 0o644
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND
# A FIFO without a reader is an error instead of a hang; a terminal must not become the controlling one.
_FLAGS |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_CLOEXEC", 0)

#: Bytes of one write that a pipe does not mix with those of other processes (PIPE_BUF); POSIX promises 512.
WHOLE = 4096 if sys.platform == "linux" else 512
#: Gathered lines, after which they are written before the end of the loop's turn.
MOST_GATHERED = 64

_CURES = {
    errno.EISDIR: "name a file, not a directory",
    errno.ENXIO: "start the reader of the pipe first, or choose another file",
    errno.EACCES: "let the server's user write there, or choose another file",
    errno.EPERM: "let the server's user write there, or choose another file",
}


def notice(text: str) -> None:
    """Write one line to stderr, and ignore a failure: there is no other place for a message."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"geventwsgi: {text}\n")
        sys.stderr.flush()


class Losses:
    """Reports the first failure of a series and its end, and counts the lines lost between.

    :param label: the operator's name for the output that fails.
    :param say: writes one line to another output.
    """

    __slots__ = ("_label", "_say", "broken", "lost", "total")

    def __init__(self, label: str, say: Callable[[str], None] = notice) -> None:
        self._label = label
        self._say = say
        #: Whether the last attempt failed.
        self.broken = False
        #: Lines lost in this series.
        self.lost = 0
        #: Lines lost ever.
        self.total = 0

    def count(self) -> None:
        """Count one lost line whose cause has been reported."""
        self.total += 1

    def failed(self, error: Exception, lost: int = 1) -> None:
        """Count a failure, which has lost ``lost`` lines."""
        self.lost += lost
        self.total += lost
        if not self.broken:
            # Set before the report, which comes back here if the error log itself is what fails.
            self.broken = True
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self._say(f"{self._label}: {reason}; each line tries again")

    def succeeded(self) -> None:
        """Report the end of a series of failures. To be called only if :attr:`broken`."""
        lost, self.lost, self.broken = self.lost, 0, False
        self._say(f"{self._label}: works again, lines lost: {lost}")


class Sink:
    """Takes whole lines. A subclass defines :meth:`put`."""

    def __init__(self, label: str) -> None:
        self.losses = Losses(label)
        self._later: Later | None = None
        #: Gathered lines that are not written yet.
        self.lines: list[str] = []
        #: The bytes that the last :meth:`put` has not written.
        self.unwritten = b""

    def write(self, line: str) -> None:
        """Write one line, given without its newline; never raises an ``Exception``."""
        self._put((line + "\n").encode("utf-8", "backslashreplace"), 1)

    def put_off(self, later: Later | None) -> None:
        """Have gathered lines wait for the end of the loop's turn from now on; with None, no longer."""
        self.flush()
        self._later = later
        (_gathering.discard if later is None else _gathering.add)(self)

    def gather(self, line: str) -> None:
        """Write one line, after :meth:`put_off` with the others of this turn. Never raises an ``Exception``."""
        if self._later is None:
            self.write(line)
            return
        lines = self.lines
        lines.append(line)
        if len(lines) == 1:
            self._later(self.flush)
        elif len(lines) >= MOST_GATHERED:
            self.flush()

    def flush(self) -> None:
        """Write the gathered lines. Never raises an ``Exception``."""
        lines = self.lines[:]
        del self.lines[: len(lines)]  # a line that another thread adds meanwhile stays
        if lines:
            for data in _pieces(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")):
                self._put(data, 0)

    def _put(self, data: bytes, records: int) -> None:
        """Write ``data``; count its records as lost if that fails. With ``records`` 0 its newlines are counted."""
        losses = self.losses
        self.unwritten = data
        try:
            self.put(data)
        except Exception as error:  # noqa: BLE001 - whatever an object's write may raise
            losses.failed(error, records or self.unwritten.count(b"\n"))
        else:
            if losses.broken:
                losses.succeeded()

    def put(self, data: bytes) -> None:
        """Write ``data`` whole or raise."""
        raise NotImplementedError

    def reopen(self) -> None:
        """Open the file that has the name now. A stream has no name."""

    def close(self) -> None:
        """Close what this sink has opened itself."""
        self.put_off(None)


#: Sinks that may have gathered lines.
_gathering: set[Sink] = set()


def flush_all() -> None:
    """Write all gathered lines, before the process ends or forks."""
    for sink in tuple(_gathering):
        sink.flush()


def _write_at_once() -> None:
    """Gather no lines in a forked process, whose loop may never turn."""
    for sink in tuple(_gathering):
        sink.put_off(None)


if hasattr(os, "register_at_fork"):
    # Written before the fork. Otherwise the child would write its copy as well.
    os.register_at_fork(before=flush_all, after_in_child=_write_at_once)


def _pieces(data: bytes) -> list[bytes]:
    """Cut lines into pieces that a pipe does not mix with others' bytes, unless a single line is longer."""
    pieces = []
    while len(data) > WHOLE:
        end = (data.rfind(b"\n", 0, WHOLE) + 1) or data.index(b"\n") + 1
        pieces.append(data[:end])
        data = data[end:]
    if data:
        pieces.append(data)
    return pieces


class DescriptorSink(Sink):
    """Writes to a descriptor. A put is one system call, unless the disk is almost full."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self._torn = False

    def write_all(self, fd: int, data: bytes) -> None:
        """Write ``data`` or raise :class:`OSError`."""
        left = b"\n" + data if self._torn else data
        try:
            while left:
                left = left[os.write(fd, left) :]
        except OSError:
            written = len(data) - len(left)
            if written >= 0:
                # A part of a line is written. The next line must begin on its own.
                self._torn = written > 0 and data[written - 1] != ord("\n")
                self.unwritten = left
            raise
        self._torn = False


class FileSink(DescriptorSink):
    """A file, by name.

    :param setting: ``accesslog`` or ``errorlog``, for messages.
    :param owner: user and group that the file is given to, who reopen it after privileges were dropped: a new one, and
        one that stands where nobody but root could have put it.
    :raises OSError: the file cannot be opened, or :class:`~geventwsgi.trusted.Untrusted`.
    """

    def __init__(self, path: str, setting: str, owner: tuple[int, int] | None = None) -> None:
        super().__init__(f"{setting} {path}")
        # The working directory may change before the file is opened again.
        self.path = os.path.abspath(path)
        self.setting = setting
        self._owner = owner
        self.fd = self._open()

    def _open(self) -> int:
        fd, created, private = open_file(self.path, _FLAGS, _MODE, self._owner)
        if hasattr(os, "fchown") and stat.S_ISREG(os.fstat(fd).st_mode):
            if self._owner is not None and (created or private):
                with contextlib.suppress(OSError):
                    os.fchown(fd, *self._owner)
        elif hasattr(os, "set_blocking"):
            with contextlib.suppress(OSError):
                os.set_blocking(fd, True)
        return fd

    def put(self, data: bytes) -> None:
        """Write ``data`` at the end of the file."""
        self.write_all(self.fd, data)

    def reopen(self) -> None:
        """Open the file anew by its name, after it was renamed.

        The new file takes the descriptor's number in one system call, so that a line written at the same time by
        another thread lands in the one or in the other.

        :raises OSError: it cannot be opened; the old file stays in use.
        """
        self.flush()
        fd = self._open()
        if self.fd < 0:
            self.fd = fd
            return
        os.dup2(fd, self.fd, inheritable=False)
        close(fd)

    def close(self) -> None:
        """Close the file; later lines are lost."""
        self.put_off(None)
        fd, self.fd = self.fd, -1
        if fd >= 0:
            close(fd)


class StandardSink(DescriptorSink):
    """The object that ``sys.stdout`` or ``sys.stderr`` is at the moment.

    Writes to the descriptor below it, so that a line does not wait in the stream's buffer.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._name = name
        self._stream: Any = None
        self._fd = -1

    def put(self, data: bytes) -> None:
        """Write ``data``. In a process without the stream (``pythonw``, ``>&-``), do nothing."""
        stream = getattr(sys, self._name)
        if stream is not self._stream:
            self._stream, self._fd = stream, _fileno(stream)
        if self._fd >= 0:
            self.write_all(self._fd, data)
        elif stream is not None:
            stream.write(data.decode())
            stream.flush()


class ObjectSink(Sink):
    """An object with ``write(str)``, as pywsgi's ``log`` argument takes it."""

    def __init__(self, stream: Any) -> None:
        super().__init__(f"log {type(stream).__name__}")
        self._stream = stream
        self._flush: Callable[[], object] = getattr(stream, "flush", lambda: None)

    def put(self, data: bytes) -> None:
        """Write and flush, so that a reader sees a line when it is logged."""
        self._stream.write(data.decode())
        self._flush()


def _fileno(stream: Any) -> int:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError, TypeError):
        return -1


_STANDARD = {"/dev/stdout": "stdout", "/dev/stderr": "stderr"}


def open_sink(target: str, setting: str, dash: str, owner: tuple[int, int] | None = None) -> Sink:
    """Open what ``accesslog`` or ``errorlog`` names.

    ``/dev/stdout`` and ``/dev/stderr`` are the streams themselves: opening them anew fails on a socket (systemd's
    journal) and for a user that is not the one who started the server.

    :param dash: the stream that ``-`` stands for.
    :raises ValueError: the file cannot be opened; cause and cure.
    """
    stream = dash if target == "-" else _STANDARD.get(target)
    if stream is not None:
        return StandardSink(stream)
    try:
        return FileSink(target, setting, owner)
    except Untrusted as error:
        raise ValueError(error.strerror) from error
    except OSError as error:
        raise ValueError(f"cannot be opened: {error.strerror or error}; {_cure(error, target)}") from error


def _cure(error: OSError, target: str) -> str:
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return f"create the directory {os.path.dirname(os.path.abspath(target))!r} or choose another file"
    return _CURES.get(error.errno or 0, "choose another file")
