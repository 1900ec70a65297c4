"""The settings that act on the whole process before the application is loaded: environment, directory, import path."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from geventwsgi.errors import ConfigError

if TYPE_CHECKING:
    from geventwsgi.config.sources import Config


def make_importable(*directories: str) -> None:
    """Put directories before all others on the import path, in their order, but for those that are on it already."""
    absolute = [str(Path(directory).absolute()) for directory in directories]
    sys.path[:0] = [directory for directory in dict.fromkeys(absolute) if directory not in sys.path]


def apply_process_settings(cfg: Config) -> None:
    """Apply ``raw_env``, ``chdir`` and ``pythonpath``; the directory that is changed to is importable afterwards.

    :raises ConfigError: the directory cannot be changed to.
    """
    os.environ.update(cfg.env)
    try:
        os.chdir(cfg.chdir)
    except OSError as error:
        raise ConfigError(f"{cfg.source('chdir')}: chdir to {cfg.chdir!r} failed: {error.strerror}") from None
    make_importable(*cfg.pythonpath, ".")
