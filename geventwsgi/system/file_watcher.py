"""``reload``: which source files have changed, by inotify where there is one, else by looking once a second.

The workers name the files of their modules through a pipe (``worker/source_reporter.py``), also those that are imported
later. The configuration file and ``reload_extra_files`` are watched besides. The set of files only grows, so that a
module whose repair is awaited is not forgotten when new workers fail to load it. There is no thread: the master's loop
polls the descriptors and calls :meth:`FileWatcher.changed`.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from importlib.util import cache_from_source
from typing import TYPE_CHECKING

from geventwsgi.errors import ConfigError
from geventwsgi.forks import close
from geventwsgi.trusted import find

if TYPE_CHECKING:
    from collections.abc import Iterator

    from geventwsgi.config.sources import Config
    from geventwsgi.observe.log import Logger
    from geventwsgi.system.inotify import Inotify
    from geventwsgi.system.signals import SignalPipe

#: Seconds between two looks at the files, without inotify.
INTERVAL = 1.0
#: Seconds without a further change before the first counts: an editor, or a checkout, changes several files.
QUIET = 0.1
#: Names of changed files in a line of the log.
SHOWN = 3

Signature = tuple[int, int, int] | None


class FileWatcher:
    """The files that the master watches while ``reload`` is set.

    :param directory: the configuration file's name is relative to it.
    :raises ConfigError: ``reload_engine`` asks for inotify, and there is none.
    """

    def __init__(self, cfg: Config, signals: SignalPipe, directory: str = ".") -> None:
        self._signals = signals
        self._directory = directory
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        signals.watch(self._reader)
        self._torn = b""
        self._inotify = _make_inotify(cfg)
        if self._inotify:
            signals.watch(self._inotify.fileno())
        #: The files by name, each with its signature when it was looked at last.
        self._files: dict[str, Signature] = {}
        self._patterns: list[str] = []
        self._pending: set[str] = set()
        self._act_at: float | None = None
        self._look_at = float("-inf")
        self.extend(cfg)

    @property
    def engine(self) -> str:
        """How changes are noticed, for the log."""
        return "inotify" if self._inotify else "poll"

    def extend(self, cfg: Config) -> None:
        """Watch the files that a configuration names, besides those that are watched already."""
        self._add(os.path.abspath(os.path.join(self._directory, cfg.config.removeprefix("file:"))))
        for given in cfg.reload_extra_files:
            path = os.path.join(cfg.chdir, given)
            pattern = os.path.join(path, "**", "*") if os.path.isdir(path) else path
            if pattern not in self._patterns:
                self._patterns.append(pattern)
        self._match()

    # Looking

    def nap(self, now: float) -> float | None:
        """Return the seconds until :meth:`changed` is to be called again; None if a descriptor announces it."""
        if self._act_at is not None:
            return max(0.0, self._act_at - now)
        return None if self._inotify else max(0.0, self._look_at - now)

    def changed(self, now: float) -> list[str]:
        """Return the files that have changed, once they have stopped changing."""
        self._hear(now)
        found = set(self._notified() if self._inotify else self._polled(now))
        if found:
            self._pending |= found
            self._act_at = now + QUIET
        if self._act_at is None or now < self._act_at:
            return []
        pending, self._pending, self._act_at = self._pending, set(), None
        for path in pending:
            _forget_bytecode(path)
        return sorted(pending)

    def _notified(self) -> Iterator[str]:
        assert self._inotify is not None  # noqa: S101 - for the type checker
        paths, grown = self._inotify.read(), self._inotify.take_grown()
        if paths or grown:
            yield from self._match()
            yield from paths & self._files.keys()
        if grown:
            # A directory that was removed may have come back. Its watch went with it, and its files came unseen.
            for directory in {os.path.dirname(path) for path in self._files}:
                self._watch(directory)
            yield from self._differing()
        for path in paths & self._files.keys():
            self._files[path] = _signature(path)

    def _polled(self, now: float) -> Iterator[str]:
        if now < self._look_at:
            return
        self._look_at = now + INTERVAL
        yield from self._match()
        yield from self._differing()

    def _differing(self) -> Iterator[str]:
        """Yield the files whose signature has changed since the last call."""
        for path, before in list(self._files.items()):
            found = self._files[path] = _signature(path)
            if found != before:
                yield path

    # What to watch

    def _hear(self, now: float) -> None:
        """Watch the files that workers have named. Each comes with the earliest time at which it may have been read."""
        with suppress(BlockingIOError):
            while data := os.read(self._reader, 65536):
                *lines, self._torn = (self._torn + data).split(b"\n")
                for line in lines:
                    since, _, name = line.partition(b" ")
                    self._add(os.fsdecode(name), int(since), now)

    def _match(self) -> set[str]:
        """Watch the files that match the patterns by now, and their directories; return the new files."""
        known = set(self._files)
        for pattern in self._patterns:
            for directory in _found(os.path.dirname(pattern)):
                self._watch(directory)
            for path in _found(pattern):
                if not os.path.isdir(path):
                    self._add(path)
        return self._files.keys() - known

    def _add(self, path: str, since: int | None = None, now: float = 0.0) -> None:
        """Watch a file by its name and by the path that its links lead to.

        :param since: nanoseconds of the wall clock. A file that was written after it counts as changed.
        """
        directory, name = os.path.split(path)
        for found in {os.path.join(os.path.realpath(directory), name), os.path.realpath(path)}:
            self._watch(os.path.dirname(found))  # again: the directory may have been removed and made anew
            if found in self._files:
                continue
            signature = self._files[found] = _signature(found)
            if since and signature and since < signature[0] <= time.time_ns():
                self._pending.add(found)
                self._act_at = now + QUIET

    def _watch(self, directory: str) -> None:
        if self._inotify:
            with suppress(OSError):  # the directory is gone, or the limit of watches is reached; the others still work
                self._inotify.add(os.path.realpath(directory))

    def forget(self) -> None:
        """Close, in a worker, the descriptors that the master reads. The worker keeps the one that it writes to."""
        # Python believes a compiled file whose source has the same second and the same length.
        sys.dont_write_bytecode = True
        self._close()

    def _close(self) -> None:
        close(self._reader)
        if self._inotify:
            self._inotify.close()

    def close(self) -> None:
        """Stop watching."""
        self._signals.unwatch(self._reader)
        if self._inotify:
            self._signals.unwatch(self._inotify.fileno())
        self._close()
        close(self.writer)


def check_engine(cfg: Config) -> None:
    """Find out whether the engine that ``reload_engine`` names can be used.

    :raises ConfigError: it cannot.
    """
    inotify = _make_inotify(cfg) if cfg.reload else None
    if inotify is not None:
        inotify.close()


def _make_inotify(cfg: Config) -> Inotify | None:
    if cfg.reload_engine == "poll":
        return None
    from geventwsgi.system.inotify import Inotify  # with ctypes, for developers alone

    try:
        return Inotify()
    except OSError as error:
        if cfg.reload_engine == "inotify":
            raise ConfigError(
                f"{cfg.source('reload_engine')}: reload_engine inotify cannot be used ({error.strerror}): choose poll"
            ) from None
    return None


def _found(pattern: str) -> list[str]:
    from glob import glob  # as above

    return glob(pattern, recursive=True)


def _forget_bytecode(path: str) -> None:
    """Remove a source's compiled file. Python overlooks a change of the same size within the same second."""
    if path.endswith(".py"):
        # A worker, which may run as another user, has named the path: no link is followed.
        with suppress(OSError), find(cache_from_source(path), follow=False) as place:
            os.unlink(place.name, dir_fd=place.directory)


def _signature(path: str) -> Signature:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class SourceWatch:
    """A :class:`FileWatcher` while ``reload`` is set."""

    def __init__(self) -> None:
        self._watcher: FileWatcher | None = None
        # The directory that the server was started in; ``chdir`` may change it later.
        self._directory = "."
        with suppress(OSError):
            self._directory = os.getcwd()

    def watch(self, cfg: Config, signals: SignalPipe, log: Logger) -> None:
        """Watch the files of a configuration. Called before each fork, since a worker must inherit the pipe.

        :raises ConfigError: files cannot be watched as ``reload_engine`` says.
        """
        if cfg.reload and self._watcher:
            self._watcher.extend(cfg)
        elif cfg.reload:
            self._watcher = FileWatcher(cfg, signals, self._directory)
            log.info("Reload: source files are watched (%s)", self._watcher.engine)

    def nap(self, now: float) -> float | None:
        """Return the seconds until :meth:`look` is to be called; None if a descriptor announces it."""
        return self._watcher.nap(now) if self._watcher else None

    def look(self, now: float) -> str:
        """Return the names of the files that have changed, for the log; "" if none has."""
        changed = self._watcher.changed(now) if self._watcher else []
        more = f" and {len(changed) - SHOWN} others" if len(changed) > SHOWN else ""
        return ", ".join(changed[:SHOWN]) + more

    @property
    def writer(self) -> int | None:
        """The descriptor by which a worker names its files (``worker/source_reporter.py``); None without ``reload``."""
        return self._watcher.writer if self._watcher else None

    def forget(self) -> None:
        """Close, in a worker, the descriptors that the master alone may have."""
        if self._watcher:
            self._watcher.forget()

    def close(self) -> None:
        """Stop watching."""
        if self._watcher:
            self._watcher.close()
            self._watcher = None
