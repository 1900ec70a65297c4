"""``reload``: the workers' source files, watched while it is set. The arbiter decides what follows a change."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from geventwsgi.system.file_watcher import FileWatcher
from geventwsgi.worker.source_reporter import SourceReporter

if TYPE_CHECKING:
    from geventwsgi.config.sources import Config
    from geventwsgi.observe.log import Logger
    from geventwsgi.system.signals import SignalPipe

#: Names of changed files in a line of the log.
SHOWN = 3


class SourceWatch:
    """A :class:`FileWatcher` while ``reload`` is set."""

    def __init__(self) -> None:
        self._watcher: FileWatcher | None = None
        # The server was started here; the settings may change to another directory.
        self._directory = "."
        with suppress(OSError):
            self._directory = os.getcwd()

    def watch(self, cfg: Config, signals: SignalPipe, log: Logger) -> None:
        """Watch what ``reload`` is to act on; called before each fork, for a worker must find the pipe to report to.

        :raises ConfigError: files cannot be watched as ``reload_engine`` says.
        """
        if cfg.reload and self._watcher:
            self._watcher.extend(cfg)
        elif cfg.reload:
            self._watcher = FileWatcher(cfg, signals, self._directory)
            log.info("Reload: source files are watched (%s)", self._watcher.engine)

    def nap(self, now: float) -> float | None:
        """Return the seconds until there is something to look at that no descriptor announces."""
        return self._watcher.nap(now) if self._watcher else None

    def look(self, now: float) -> str:
        """Return the names of the files that have changed, for the log; "" if none has."""
        changed = self._watcher.changed(now) if self._watcher else []
        more = f" and {len(changed) - SHOWN} others" if len(changed) > SHOWN else ""
        return ", ".join(changed[:SHOWN]) + more

    def reporter(self) -> SourceReporter | None:
        """Return what a worker reports by; None if ``reload`` is off."""
        return SourceReporter(self._watcher.writer) if self._watcher else None

    def forget(self) -> None:
        """Let go, in a worker, of what is the master's alone."""
        if self._watcher:
            self._watcher.forget()

    def close(self) -> None:
        """Watch nothing any more."""
        if self._watcher:
            self._watcher.close()
            self._watcher = None
