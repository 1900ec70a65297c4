"""The user and groups that a process runs as. Groups are changed first: only root may change them.

The master keeps the rights that it was started with, since it binds addresses and opens logs again. Each worker calls
:func:`become` before it loads the application.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from geventwsgi.errors import ConfigError
from geventwsgi.forks import close

if TYPE_CHECKING:
    from geventwsgi.config.sources import Config
    from geventwsgi.trusted import Place


def become(cfg: Config) -> None:
    """Run as ``user`` and ``group`` from here on. Without ``initgroups`` the process loses all supplementary groups.

    :raises ConfigError: the system refuses it.
    """
    if not hasattr(os, "setuid"):
        return
    uid, gid = cfg.uid, cfg.gid
    if (uid, gid) == (os.geteuid(), os.getegid()) and not cfg.initgroups:
        return
    try:
        _set_groups(uid, gid, initgroups=cfg.initgroups)
        if gid != os.getegid():
            os.setgid(gid)
        if uid != os.geteuid():
            os.setuid(uid)
    except OSError as error:
        raise ConfigError(_refused(cfg, error.strerror)) from None


def check_privileges(cfg: Config) -> None:
    """Find out whether :func:`become` would succeed, as far as that is possible without calling it.

    :raises ConfigError: the system would refuse it.
    """
    if not hasattr(os, "setuid") or os.geteuid() == 0:
        return
    if (cfg.uid, cfg.gid) != (os.geteuid(), os.getegid()) or cfg.initgroups:
        raise ConfigError(_refused(cfg, os.strerror(errno.EPERM)))


def _refused(cfg: Config, cause: str | None) -> str:
    return (
        f"{_source(cfg)}: a worker cannot become user {cfg.uid}, group {cfg.gid} ({cause}): start as root, or leave "
        "user, group and initgroups out"
    )


def _set_groups(uid: int, gid: int, *, initgroups: bool) -> None:
    if initgroups:
        os.initgroups(_name(uid), gid)
    elif os.geteuid() == 0 and uid != 0:
        os.setgroups([])  # the user must not keep the rights of root's groups


def _name(uid: int) -> str:
    """Return the user's name, or "" for a number without an account: "" has no supplementary groups."""
    import pwd

    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return ""


def _source(cfg: Config) -> str:
    """Return the source of the setting that asks for another user or group."""
    asked = [cfg.source(name) for name in ("user", "group", "initgroups")]
    return next((source for source in asked if source != "default"), "default")


def give(place: Place, cfg: Config) -> None:
    """Give the file of a unix socket that was just bound to the workers' user and group, if the system permits it.

    In a directory that others can write to, they may have replaced the file. So it is opened and looked at first. Only
    a socket of this process's user without a second name is given away.
    """
    if place.directory is None:
        return
    with suppress(OSError):
        if not hasattr(os, "O_PATH"):
            if place.private:
                os.chown(place.name, cfg.uid, cfg.gid, dir_fd=place.directory, follow_symlinks=False)
            return
        fd = os.open(place.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.directory)
        try:
            found = os.fstat(fd)
            if stat.S_ISSOCK(found.st_mode) and (found.st_uid, found.st_nlink) == (os.geteuid(), 1):
                os.chown(f"/proc/self/fd/{fd}", cfg.uid, cfg.gid)  # fchown refuses such a descriptor
        finally:
            close(fd)
