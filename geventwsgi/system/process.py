"""What belongs to a process as a whole: environment, directory, import path, umask, title, memory."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from geventwsgi.config.loader import make_importable
from geventwsgi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geventwsgi.config.sources import Config


def apply_process_settings(cfg: Config) -> None:
    """Apply ``raw_env``, ``chdir``, ``pythonpath`` and ``umask``, and make the new directory importable.

    :raises ConfigError: the directory cannot be changed to.
    """
    os.environ.update(cfg.env)
    try:
        os.chdir(cfg.chdir)
    except OSError as error:
        raise ConfigError(f"{cfg.source('chdir')}: chdir to {cfg.chdir!r} failed: {error.strerror}") from None
    make_importable(*cfg.pythonpath, ".")
    _Umask.apply(cfg)


def replace_process_settings(before: Config, cfg: Config, environ: Mapping[str, str]) -> None:
    """Apply the settings of ``cfg`` and take back the environment that ``before`` has set.

    :param environ: the environment that the server was started with.
    :raises ConfigError: the directory cannot be changed to.
    """
    for name in before.env:
        if name in environ:
            os.environ[name] = environ[name]
        else:
            os.environ.pop(name, None)
    apply_process_settings(cfg)


class _Umask:
    """The process's umask."""

    #: The umask that the process was started with; None while it is in force.
    _found: ClassVar[int | None] = None

    @classmethod
    def apply(cls, cfg: Config) -> None:
        """Set the umask of ``cfg``, or restore the one that the process was started with."""
        if cfg.source("umask") != "default":
            before = os.umask(cfg.umask)
            cls._found = before if cls._found is None else cls._found
        elif cls._found is not None:
            os.umask(cls._found)
            cls._found = None


#: What ``ps`` showed before the first :func:`set_title`.
_first_title = ""


def set_title(title: str) -> None:
    """Set the name that ``ps`` shows; do nothing without the ``setproctitle`` extra."""
    global _first_title  # noqa: PLW0603 - a process has one
    try:
        from setproctitle import getproctitle, setproctitle
    except ImportError:
        return
    with suppress(UnicodeError):  # an argument with bytes that are not UTF-8: this process keeps its name
        _first_title = _first_title or getproctitle()
        setproctitle(title)


def restore_title() -> None:
    """Undo :func:`set_title` in a forked process that is neither a master nor a worker."""
    if _first_title:
        set_title(_first_title)


def resident(pid: int) -> int:
    """Return a process's resident memory in bytes (proc(5)); 0 if the system does not tell it."""
    import resource

    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0


def proportional(pid: int) -> int:
    """Return a process's memory in bytes, of shared pages its part (proc(5)); 0 if the system does not tell it."""
    with suppress(OSError, IndexError, ValueError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:"))
    return 0


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open; 0 if the system does not tell it."""
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, in seconds (proc(5)); 0 if the system does not tell it."""
    with suppress(OSError, IndexError, ValueError), open(f"/proc/{pid}/stat", "rb") as file:
        user, system = file.read().rpartition(b")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return 0.0
