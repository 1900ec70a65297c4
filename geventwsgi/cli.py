"""The command ``gwsgi``: flags to a configuration, a failure to one line and an exit status.

It reads the settings and hands them to the master; it knows no signal, no socket and no process but this one.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from geventwsgi import core
from geventwsgi.collector import uncollected
from geventwsgi.config.flags import help_text, read_flags
from geventwsgi.config.nearest import one_line
from geventwsgi.config.sources import Config, load
from geventwsgi.errors import AppLoadError, ConfigError, StartupError
from geventwsgi.observe.outputs import stdio
from geventwsgi.system.originals import original

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from geventwsgi.master.kin import Kin

#: Seconds that threads have to end after the server; Python would wait for them for ever.
PATIENCE = 1.0
#: The options that show the usage of ``publish``; its other options stand behind the channel and the message.
HELP = ("-h", "--help")
#: What is asked of a running server. An application of such a name is written with a colon: ``top:application``.
COMMANDS = ("status", "top", "stacks", "end", "reload", "reopen", "stop", "workers")
#: The exit status of a check that found something to warn of, where it is to be strict.
STRICTLY_WRONG = 1
#: What a shell makes of a command that INT ended.
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    :param argv: the arguments, without the program's name; those of the process by default.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["publish"] and len(arguments) > 1 and (arguments[1] in HELP or arguments[1][:1] != "-"):
        from geventwsgi.events.outside import main as publish  # no server needs it

        return publish(arguments[1:])
    if arguments[:1] and arguments[0] in COMMANDS:
        from geventwsgi.command.commands import run  # the same

        return run(arguments[0], arguments[1:])
    try:
        return _run(arguments)
    except StartupError as error:
        _report(error, debugging="debug" in arguments or "--log-level=debug" in arguments)
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED


def main_and_exit() -> NoReturn:
    """Run the command as a program."""
    status = main()
    stdio.settle()
    _bound_the_end(status)
    sys.exit(status)


def _bound_the_end(status: int) -> None:
    """Have the process end although threads go on that an application has left here (``preload_app``)."""
    threading = sys.modules.get("threading")
    if threading is None or all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()):
        return
    set_handler: Callable[..., object] = original("signal", "signal")
    set_handler(signal.SIGALRM, lambda *_: os._exit(status))
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)


def _run(arguments: list[str]) -> int:
    asked = read_flags(arguments)
    if asked.help or asked.version:
        return _say(help_text() if asked.help else _versions())
    kin = _kin()  # first: it is nothing for the processes that the configuration file may start
    environ, directory = dict(os.environ), _working_directory()  # as they are now: the settings will change both
    cfg = load(asked, environ, directory)
    if cfg.print_config:
        _say(_listing(cfg))
    if cfg.check_config:
        return _check(cfg)
    if cfg.print_config:
        return 0
    _require_application(cfg)
    first = [cfg]
    return _serve(lambda: first.pop() if first else load(asked, environ, directory), kin)


def _kin() -> Kin | None:
    """Return what a master has told this program by its environment, where there are masters."""
    if not hasattr(os, "fork"):
        return None
    with uncollected():
        from geventwsgi.master.kin import Kin

    return Kin(os.environ)


def _serve(load_config: Callable[[], Config], kin: Kin | None) -> int:
    if kin is not None:
        with uncollected():
            from geventwsgi.master.arbiter import Arbiter  # only serving needs it, where there is fork

        return Arbiter(load_config, kin=kin).run()
    from geventwsgi.entry.single import run_single  # the other way

    return run_single(load_config)


def _check(cfg: Config) -> int:
    """Tell of whatever would keep the server from starting; with ``strict``, return 1 if there are warnings."""
    from geventwsgi.entry.check import check  # it loads the application
    from geventwsgi.observe.loggers import warnings_of  # only serving needs the master

    warnings: list[str] = []

    def warn(text: str) -> None:
        warnings.append(text)
        _complain(text)

    for warning in warnings_of(cfg):
        warn(warning)
    _require_application(cfg)
    check(cfg, warn)
    return STRICTLY_WRONG if cfg.strict and warnings else 0


def _require_application(cfg: Config) -> None:
    if not (cfg.wsgi_app or cfg.paste):
        raise ConfigError("no application given: gwsgi [OPTIONS] MODULE:APP, or wsgi_app in the configuration file")


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise ConfigError(f"the working directory cannot be found ({error.strerror}): change to another one") from None


# --- what it prints


def _versions() -> str:
    import platform  # slow, and for this alone
    from importlib.metadata import version  # the same

    core_name = core.name()
    versions = f"{core_name} core, gevent {version('gevent')}, Python {platform.python_version()}"
    return f"gwsgi {version('geventwsgi')} ({versions})\n"


def _listing(cfg: Config) -> str:
    """Return each setting, its value and its source, a line each."""
    rows = [(f"{name} = {_shown(value)}", cfg.source(name)) for name, value in cfg.values.items()]
    width = max(len(text) for text, _ in rows if len(text) < 60)
    return "".join(f"{text:{width}}  # {source}\n" for text, source in rows)


def _shown(value: Any) -> str:
    if callable(value) and not isinstance(value, type):
        return f"<function {getattr(value, '__name__', type(value).__name__)}>"
    return repr(value)


def _say(text: str) -> int:
    """Print to stdout and return 0, even if its reader has gone: ``gwsgi --help | head``."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the interpreter's own flush at exit
    return 0


def _report(error: StartupError, *, debugging: bool) -> None:
    """Print one line; before it the application's own traceback, or, at debug, where a start failed.

    A wrong setting is the operator's, and its line says all: a traceback of ours would hide it.
    """
    shown = error.__cause__ if isinstance(error, AppLoadError) else None
    if debugging and not isinstance(error, ConfigError):
        shown = error
    if shown:
        traceback.print_exception(type(shown), shown, shown.__traceback__)
    _complain(error)


def _complain(text: object) -> None:
    sys.stderr.write(f"gwsgi: {one_line(text)}\n")
