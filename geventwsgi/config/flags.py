"""The command line: from flags of the settings table to values, which are not yet parsed.

Flags in the plain form are read here, with the same result as by argparse. All others are left to argparse
(``parser``), which takes a thirtieth of a start: abbreviated flags, ``-w3``, and errors.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from geventwsgi.config.setting import Given, Setting
from geventwsgi.config.settings import BY_NAME, SETTINGS


# Annotations are no text in this module: NamedTuple would compile each of them at every start.
class CommandLine(NamedTuple):
    """The content of a list of arguments.

    :param given: setting -> the value of its flag, unparsed; the application is ``wsgi_app``.
    :param notes: warnings, a line each.
    """

    given: dict[str, Given]
    notes: tuple[str, ...] = ()
    help: bool = False
    version: bool = False


def read_flags(arguments: Sequence[str], source: str = "") -> CommandLine:
    """Read the flags and the application from a list of arguments.

    :param source: where the arguments come from, if not from the command line.
    :raises ConfigError: one line: an unknown flag (with the nearest), a missing value.
    """
    values = _read_plainly(arguments)
    if values is None:
        from geventwsgi.config.parser import Parser  # takes 3 ms

        values = Parser(source).read(arguments)
    applications = values.pop("applications")
    asked = {name: values.pop(name, False) for name in ("help", "version")}
    given = {name: Given(value, source or f"flag {BY_NAME[name].long_flag}") for name, value in values.items()}
    notes: tuple[str, ...] = ()
    if applications:
        where = source or "command line"
        given["wsgi_app"] = Given(applications[0], where)
        notes = tuple(f"{where}: {further!r} is ignored: {applications[0]} is served" for further in applications[1:])
    return CommandLine(given, notes, **asked)


def help_text() -> str:
    """Return the text of ``--help``: every flag, grouped as in the table."""
    from geventwsgi.config.parser import Parser  # as above

    return Parser().format_help()


def _read_plainly(arguments: Sequence[str]) -> dict[str, Any] | None:
    """Return the value of each flag; None if some flag is not in the plain form.

    The plain form is the whole flag, with its value after ``=`` or in the next argument.
    """
    flags = {flag: setting for setting in SETTINGS for flag in setting.flags}
    values: dict[str, Any] = {"applications": []}
    waiting: Setting | None = None  # for its value
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if argument[:1] != "-":
            if waiting is not None:
                _give(values, waiting, argument)
            else:
                values["applications"].append(argument)
            waiting = None
        elif waiting is not None or flag not in flags or not flag.startswith("--" if equals else "-"):
            return None
        elif equals:
            if value in ("", "--") or not flags[flag].kind.metavar:
                return None
            _give(values, flags[flag], value)
        elif not flags[flag].kind.metavar:
            values[flags[flag].name] = flags[flag].kind.constant
        elif flags[flag].kind.constant is not None and not flags[flag].kind.repeat:
            return None  # its value may be left out
        else:
            waiting = flags[flag]
    return None if waiting else values


def _give(values: dict[str, Any], setting: Setting, value: str) -> None:
    if setting.kind.repeat:
        values.setdefault(setting.name, []).append(value)
    else:
        values[setting.name] = value
