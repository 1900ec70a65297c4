"""The commands for a running server: each asks for a page or gives an order. A failure is one line and a status."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from geventwsgi.command.talk import CommandError, Control
from geventwsgi.command.texts import stacks_lines, status_lines
from geventwsgi.config.flags import read_flags
from geventwsgi.config.nearest import one_line
from geventwsgi.config.sources import load
from geventwsgi.errors import ConfigError
from geventwsgi.observe.outputs.escape import clean
from geventwsgi.observer import MOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

#: The exit statuses: the command failed; it was asked wrongly.
FAILED, WRONG = 1, 2
#: The exit status of a command that INT has ended, as shells have it.
INTERRUPTED = 130


def _print(lines: Iterable[str]) -> None:
    try:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the interpreter's own flush at exit


def _status(control: Control, asked: argparse.Namespace) -> None:
    status = control.get("/status")
    _print([json.dumps(status, indent=1)] if asked.json else status_lines(status))


def _stacks(control: Control, asked: argparse.Namespace) -> None:
    found = control.get("/stacks", **({} if asked.pid is None else {"worker": asked.pid}))
    if not found:
        raise CommandError("there is no such worker: gwsgi status names them")
    _print(stacks_lines(found))


def _top(control: Control, _asked: argparse.Namespace) -> None:
    try:
        from geventwsgi.command.screen import show  # it needs an extra
    except ModuleNotFoundError as error:
        if error.name != "rich":
            raise
        raise CommandError("top needs the package rich: pip install geventwsgi[top]") from None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError("top needs a terminal: use gwsgi status, or curl at the control socket")
    show(control)


def _order(page: str) -> Callable[[Control, argparse.Namespace], None]:
    return lambda control, _asked: _print([clean(control.post(page))])


def _workers(control: Control, asked: argparse.Namespace) -> None:
    _print([clean(control.post("/workers", by=asked.by))])


def _end(control: Control, asked: argparse.Namespace) -> None:
    _print([clean(control.post("/end", id=asked.id))])


#: What each command does, and its help.
COMMANDS: dict[str, tuple[Callable[[Control, argparse.Namespace], None], str]] = {
    "status": (_status, "Show the server, its workers and the worst stalls."),
    "top": (_top, "Show the requests of all workers while they run; keys sort and end them."),
    "stacks": (_stacks, "Show the stack of every greenlet of the application."),
    "end": (_end, "End a request: its client gets 503, or a cut response if that has begun."),
    "reload": (_order("/reload"), "Reload the server, as HUP does."),
    "reopen": (_order("/reopen"), "Reopen the logs, as USR1 does."),
    "stop": (_order("/stop"), "Stop the server, as TERM does."),
    "workers": (_workers, "Start workers, or end some: +1, -1."),
}


def run(name: str, arguments: Sequence[str]) -> int:
    """Run a command and return its exit status: 0, 1 (failed) or 2 (asked wrongly).

    :param name: one of :data:`COMMANDS`.
    :param arguments: those after it.
    """
    action, text = COMMANDS[name]
    asked = _parser(name, text).parse_args(arguments)
    try:
        action(Control(_path(asked)), asked)
    except CommandError as error:
        return _complain(name, error, FAILED)
    except ConfigError as error:
        return _complain(name, error, WRONG)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _parser(name: str, text: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(f"gwsgi {name}", description=text)
    parser.add_argument("--control-socket", metavar="PATH", help="the server's control socket")
    parser.add_argument("-c", "--config", metavar="FILE", help="the configuration file that names it")
    if name == "status":
        parser.add_argument("--json", action="store_true", help="print all that /status shows")
    elif name == "stacks":
        parser.add_argument("pid", nargs="?", type=int, metavar="PID", help="of one worker")
    elif name == "end":
        parser.add_argument("id", metavar="ID", help="the request's id, as /requests shows it")
    elif name == "workers":
        parser.add_argument("by", type=_number, metavar="+N|-N", help="how many more, or fewer")
    return parser


def _number(text: str) -> int:
    if text[:1] not in {"+", "-"}:
        raise argparse.ArgumentTypeError(f"write +{text} or -{text}: the number is a change")
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not 0 < abs(number) <= MOST:
        raise argparse.ArgumentTypeError(f"write +1 to +{MOST}, or -1 to -{MOST}")
    return number


def _path(asked: argparse.Namespace) -> str:
    """Return the control socket that is named, else that of the configuration, else the default.

    :raises ConfigError: the configuration cannot be read.
    """
    given: str | None = asked.control_socket
    if given is None:
        flags = read_flags([] if asked.config is None else ["--config", asked.config])
        given = load(flags, dict(os.environ), os.getcwd()).control_socket
    return os.path.expanduser(given)


def _complain(name: str, error: Any, status: int) -> int:
    sys.stderr.write(f"gwsgi {name}: {one_line(error)}\n")
    return status
