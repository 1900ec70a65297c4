"""What acts on the whole process before the application is loaded: environment, directory, import path, umask."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, ClassVar

from geventwsgi.errors import ConfigError

if TYPE_CHECKING:
    from geventwsgi.config.sources import Config


def make_importable(*directories: str) -> None:
    """Put directories before all others on the import path, in their order, but for those that are on it already."""
    absolute = [os.path.abspath(directory) for directory in directories]
    sys.path[:0] = [directory for directory in dict.fromkeys(absolute) if directory not in sys.path]


def apply_process_settings(cfg: Config) -> None:
    """Apply ``raw_env``, ``chdir``, ``pythonpath`` and ``umask``; the directory that is changed to becomes importable.

    :raises ConfigError: the directory cannot be changed to.
    """
    os.environ.update(cfg.env)
    try:
        os.chdir(cfg.chdir)
    except OSError as error:
        raise ConfigError(f"{cfg.source('chdir')}: chdir to {cfg.chdir!r} failed: {error.strerror}") from None
    make_importable(*cfg.pythonpath, ".")
    _Umask.apply(cfg)


class _Umask:
    """The process's umask: what it was started with, unless the operator sets it."""

    #: The one that it was started with; None as long as no other was set.
    _found: ClassVar[int | None] = None

    @classmethod
    def apply(cls, cfg: Config) -> None:
        """Set it, or set it back where an earlier configuration had set it."""
        if cfg.source("umask") != "default":
            before = os.umask(cfg.umask)
            cls._found = before if cls._found is None else cls._found
        elif cls._found is not None:
            os.umask(cls._found)
            cls._found = None
