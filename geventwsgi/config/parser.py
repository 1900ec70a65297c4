"""The command line by argparse: flags that are not in the plain form, errors, and ``--help``."""

from __future__ import annotations

import argparse
from itertools import groupby
from typing import TYPE_CHECKING, Any, NoReturn

from geventwsgi.config.settings import BY_NAME, SETTINGS, nearest_setting
from geventwsgi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geventwsgi.config.setting import Setting

_EPILOG = (
    "Flags override GWSGI_CMD_ARGS, which overrides GUNICORN_CMD_ARGS, which overrides the configuration file. PORT, "
    "WEB_CONCURRENCY, FORWARDED_ALLOW_IPS and SENDFILE change defaults. Hooks and some dictionaries can be set in the "
    "file only. Commands for a running server: gwsgi status, top, stacks, end, reload, reopen, stop, workers."
)


class Parser(argparse.ArgumentParser):
    """argparse for the table of settings. It raises an error where argparse would print it and exit."""

    def __init__(self, source: str = "") -> None:
        usage = "gwsgi [OPTIONS] [MODULE:APP]"
        super().__init__("gwsgi", usage, epilog=_EPILOG, add_help=False, argument_default=argparse.SUPPRESS)
        self.source = source
        # Each in its own group: a flag without a group is formatted when it is added, which takes longer than the rest.
        add = self.add_argument_group("positional arguments").add_argument
        add("applications", nargs="*", default=[], metavar="MODULE:APP", help="the application to serve")
        add = self.add_argument_group("options").add_argument
        add("-h", "--help", action="store_true", help="show this and exit")
        add("-v", "--version", action="store_true", help="show the versions and exit")
        for section, settings in groupby(SETTINGS, lambda setting: setting.section):
            group = self.add_argument_group(section)
            for setting in settings:
                if setting.flags:
                    group.add_argument(*setting.flags, dest=setting.name, help=_help(setting), **_shape(setting))

    def read(self, arguments: Sequence[str]) -> dict[str, Any]:
        """Return the value of each flag; positional arguments, the application first, are ``applications``.

        :raises ConfigError: one line: an unknown flag (with the nearest), a missing value.
        """
        found, unknown = self.parse_known_args(list(arguments))
        for argument in unknown:
            if argument.startswith("-"):
                self.refuse(f"unknown flag {argument}{_hint(argument)}")
        return {**vars(found), "applications": [*found.applications, *unknown]}

    def refuse(self, message: str) -> NoReturn:
        """Raise the error, with the source of the arguments named."""
        raise ConfigError(f"{self.source}: {message}" if self.source else message)

    def error(self, message: str) -> NoReturn:
        """See :meth:`argparse.ArgumentParser.error`."""
        self.refuse(f"{message}; see gwsgi --help")


def _shape(setting: Setting) -> dict[str, Any]:
    """Return argparse's keywords for the flag's argument, or for its having none."""
    kind = setting.kind
    if not kind.metavar:
        return {"action": "store_const", "const": kind.constant}
    shape: dict[str, Any] = {"metavar": kind.metavar}
    if kind.repeat:
        shape["action"] = "append"
    elif kind.constant is not None:
        shape.update(nargs="?", const=kind.constant)
    return shape


def _help(setting: Setting) -> str:
    notes = f" Default: {setting.default_text}." if setting.kind.metavar else ""
    if not setting.effective:
        notes += f" (No effect {setting.no_effect}.)"
    return (setting.help + notes).replace("%", "%%")


def _hint(flag: str) -> str:
    name = flag.partition("=")[0].strip("-").replace("-", "_")
    meant = nearest_setting(name)
    flags = BY_NAME[meant].flags if meant else ()
    return f"; did you mean {flags[-1]}?" if flags else "; see gwsgi --help"
