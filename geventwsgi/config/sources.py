"""The sources of settings, and the frozen ``Config`` that is made of them.

A later source overrides an earlier one: default, configuration file, ``GUNICORN_CMD_ARGS``, ``GWSGI_CMD_ARGS``, flag.

All settings are read and checked here, and each error and warning names the source. Nothing here acts on a setting.
"""

from __future__ import annotations

import copy
import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from geventwsgi.config import worker_classes
from geventwsgi.config.addresses import Address, TCPAddress, UnixAddress, networks, parse_address
from geventwsgi.config.flags import CommandLine, read_flags
from geventwsgi.config.kinds import NETWORKS, nothing
from geventwsgi.config.loader import load_object, make_importable
from geventwsgi.config.setting import Given, Setting
from geventwsgi.config.settings import BY_NAME, SETTINGS, nearest_setting
from geventwsgi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from ipaddress import IPv4Network, IPv6Network

    from geventwsgi.config.config_file import ConfigFile

#: Read from the working directory if no file is named, the first that exists.
DEFAULT_FILES = ("gwsgi.conf.py", "gunicorn.conf.py")
DEFAULT = "default"
_OLD_TLS = ("SSLv3", "TLSv1", "TLSv1_1")


class Config:
    """The value of every setting, as an attribute by its name, and what gunicorn's ``Config`` derives from them.

    It is read-only, except by :meth:`set`; a reload makes another one.

    :param values: settings that differ from their defaults, validated already.
    :param sources: where each of them comes from, for messages.
    :param notes: warnings about the sources themselves.
    """

    __slots__ = ("_notes", "_sources", "_values")
    _notes: tuple[str, ...]
    _sources: dict[str, str]
    _values: dict[str, Any]

    def __init__(
        self,
        values: Mapping[str, Any] | None = None,
        sources: Mapping[str, str] | None = None,
        notes: Iterable[str] = (),
    ) -> None:
        complete = {setting.name: copy.copy(setting.default) for setting in SETTINGS}
        complete.update(values or {})
        object.__setattr__(self, "_values", complete)
        object.__setattr__(self, "_sources", dict(sources or {}))
        object.__setattr__(self, "_notes", tuple(notes))

    @classmethod
    def of(cls, **settings: Any) -> Config:
        """Return the defaults with `settings` in their place, as a script gives them; None leaves a default.

        :raises ConfigError: an unknown name (with the nearest) or a wrong value.
        """
        return cls().replace(**settings)

    def replace(self, **settings: Any) -> Config:
        """Return this configuration with other `settings` in their place.

        :raises ConfigError: an unknown name (with the nearest) or a wrong value.
        """
        given = {name: Given(value, "argument") for name, value in settings.items() if value is not None}
        return _checked(Config(*_merged([given], self._values, self._sources), self._notes))

    def __getattr__(self, name: str) -> Any:
        if name in BY_NAME:
            return self._values[name]
        raise AttributeError(f"no setting is named {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a configuration is read-only: set {name} in its source, or by cfg.set()")

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __reduce__(self) -> tuple[Any, ...]:
        return Config, (self._values, self._sources, self._notes)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={self._values[name]!r}" for name in self._sources)
        return f"Config({given})"

    # --- what it holds

    @property
    def values(self) -> Mapping[str, Any]:
        """Every setting's value, in the table's order."""
        return MappingProxyType(self._values)

    @property
    def settings(self) -> Mapping[str, Entry]:
        """Every setting as gunicorn's hooks know it: ``cfg.settings["workers"].get()``."""
        return {name: Entry(self, BY_NAME[name]) for name in self._values}

    def set(self, name: str, value: Any) -> None:
        """Change a setting, for gunicorn's hooks. It affects settings that are read later, in this process.

        :raises ConfigError: an unknown name (with the nearest) or a wrong value.
        """
        name = name.lower()
        self._values[name], self._sources[name] = _parsed(name, Given(value, "cfg.set()")), "cfg.set()"

    def source(self, name: str) -> str:
        """Return where a setting's value comes from: ``default``, ``flag --workers``, ``gwsgi.conf.py:12``."""
        return self._sources.get(name, DEFAULT)

    def listed_sources(self) -> str:
        """Return each setting that a source gives, and that source, for a log."""
        return "; ".join(f"{name} ({source})" for name, source in self._sources.items())

    def hook(self, name: str) -> Callable[..., Any] | None:
        """Return a server hook; None if the operator has set none, so that a hot path can skip it."""
        function: Callable[..., Any] = self._values[name]
        return None if function is nothing else function

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings, a line each: settings that have no effect, are misspelt, or are dangerous."""
        return self._notes + tuple(_warnings(self))

    # --- what follows from it

    @property
    def address(self) -> list[Address]:
        """``bind``, parsed."""
        return [parse_address(bind) for bind in self.bind]

    @property
    def admin_address(self) -> Address | None:
        """``admin_bind``, parsed."""
        return None if self.admin_bind is None else parse_address(self.admin_bind)

    @property
    def control_address(self) -> UnixAddress | None:
        """``control_socket``, where it was set: by default there is none."""
        if self.control_socket_disable or not self.control_socket or self.source("control_socket") == DEFAULT:
            return None
        return UnixAddress(os.path.expanduser(self.control_socket))

    @property
    def is_observed(self) -> bool:
        """Whether somebody may ask what the server does."""
        return self.admin_bind is not None or self.control_address is not None

    @property
    def is_ssl(self) -> bool:
        """Whether connections are over TLS."""
        return bool(self.certfile or self.keyfile)

    @property
    def ssl_options(self) -> dict[str, Any]:
        """The settings of the section SSL."""
        return {setting.name: self._values[setting.name] for setting in SETTINGS if setting.section == "SSL"}

    @property
    def env(self) -> dict[str, str]:
        """``raw_env`` as a dictionary."""
        return dict(pair.split("=", 1) for pair in self.raw_env)

    @property
    def paste_global_conf(self) -> dict[str, str]:
        """``raw_paste_global_conf`` as a dictionary."""
        return dict(pair.split("=", 1) for pair in self.raw_paste_global_conf)

    @property
    def uid(self) -> int:
        """The user that workers run as."""
        return int(self.user)

    @property
    def gid(self) -> int:
        """The group that workers run as."""
        return int(self.group)

    @property
    def proc_name(self) -> str:
        """The process name: as set, or else ``default_proc_name``."""
        return str(self._values["proc_name"] or self.default_proc_name)

    @property
    def worker_class_str(self) -> str:
        """The name of the worker class."""
        given = self.worker_class
        return given.__name__ if isinstance(given, type) else str(given)

    @property
    def logger_class(self) -> type[Any]:
        """The logger's class, imported at the first use.

        :raises ConfigError: it cannot be loaded.
        """
        found = load_object(self._values["logger_class"], f"{self.source('logger_class')}: logger_class")
        if not isinstance(found, type):
            raise ConfigError(f"{self.source('logger_class')}: logger_class must be a class, not {found!r}")
        return found

    def forwarded_allow_networks(self) -> list[IPv4Network | IPv6Network]:
        """Return ``forwarded_allow_ips`` as networks, without ``*``."""
        return networks(self.forwarded_allow_ips)

    def proxy_allow_networks(self) -> list[IPv4Network | IPv6Network]:
        """Return ``proxy_allow_ips`` as networks, without ``*``."""
        return networks(self.proxy_allow_ips)


class Entry:
    """One setting of one configuration."""

    __slots__ = ("_cfg", "_setting")

    def __init__(self, cfg: Config, setting: Setting) -> None:
        self._cfg = cfg
        self._setting = setting

    @property
    def name(self) -> str:
        """Its name."""
        return self._setting.name

    @property
    def section(self) -> str:
        """The heading that it stands under."""
        return self._setting.section

    @property
    def default(self) -> Any:
        """Its default."""
        return self._setting.default

    @property
    def value(self) -> Any:
        """Its value."""
        return self._cfg.values[self._setting.name]

    def get(self) -> Any:
        """Return its value."""
        return self.value

    def set(self, value: Any) -> None:
        """See :meth:`Config.set`."""
        self._cfg.set(self._setting.name, value)


def load(
    command: CommandLine,
    environ: Mapping[str, str],
    directory: str | None = None,
    *,
    defaults: Mapping[str, Given] | None = None,
) -> Config:
    """Read the configuration anew from flags, environment and file.

    The configuration file is Python and is run; `directory` is importable to it, and stays so.

    :param command: the command line, as :func:`~.flags.read_flags` has read it.
    :param directory: what relative paths to the file and of ``chdir`` start from; the working directory by default.
    :param defaults: what the caller has for settings that no source gives.
    :raises ConfigError: one line that names the source of what is wrong.
    """
    directory = directory or os.getcwd()
    make_importable(directory)
    flags = command.given
    read = [*(_read_variable(name, environ) for name in ("GUNICORN_CMD_ARGS", "GWSGI_CMD_ARGS")), command]
    values: dict[str, Any] = {}
    if flags.get("wsgi_app"):
        values["default_proc_name"] = flags["wsgi_app"].value
    asked = next((one.given["config"] for one in reversed(read) if one.given.get("config")), None)
    location = asked.value if asked else default_file(directory)
    file = _read_file(location, directory) if location else None
    if file:
        values["config"] = file.location
    layers = [file.given if file else {}, *(one.given for one in read)]
    altered = _altered_defaults(environ, set().union(*layers))
    paste = next((layer["paste"] for layer in reversed(layers) if layer.get("paste")), None)
    if paste:
        defaults = paste_defaults(os.path.join(directory, _parsed("paste", paste)))
    values, sources = _merged([defaults or {}, altered, *layers], values, {})
    if paste:
        values["paste"] = os.path.join(directory, values["paste"])
    values["chdir"] = os.path.normpath(os.path.join(directory, values.get("chdir", ".")))
    notes = [note for one in read for note in one.notes]
    return _checked(Config(values, sources, [*(file.warnings if file else ()), *notes]))


def paste_defaults(location: str) -> dict[str, Given]:
    """Return the settings that follow from a PasteDeploy file: it is the application, and may configure logging.

    :param location: its path, which ``#`` and the name of an application may follow.
    :raises ConfigError: it cannot be read.
    """
    from configparser import Error, RawConfigParser  # for such files alone

    path, _, _ = location.partition("#")
    parser = RawConfigParser(strict=False)
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except (OSError, UnicodeError, Error) as error:
        cause = getattr(error, "strerror", None) or str(error).split("\n", maxsplit=1)[0]
        raise ConfigError(f"cannot read the PasteDeploy file {path!r}: {cause}") from None
    source = os.path.basename(path)
    given = {"default_proc_name": Given(path, source)}
    if parser.has_section("loggers"):
        given["logconfig"] = Given(path, source)
    return given


def default_file(directory: str) -> str | None:
    """Return the name of the configuration file that `directory` holds, if it holds one."""
    return next((name for name in DEFAULT_FILES if os.path.isfile(os.path.join(directory, name))), None)


def _read_file(location: str, directory: str) -> ConfigFile:
    from geventwsgi.config.config_file import read_file

    return read_file(location, directory)


def _read_variable(name: str, environ: Mapping[str, str]) -> CommandLine:
    """Return the values of the flags in an environment variable."""
    if not environ.get(name):
        return CommandLine({})
    import shlex

    source = f"environment {name}"
    try:
        arguments = shlex.split(environ[name])
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None
    return read_flags(arguments, source)


def _altered_defaults(environ: Mapping[str, str], given: set[str]) -> dict[str, Given]:
    """Return the defaults that variables alter, of settings that nothing else gives."""
    return {
        setting.name: Given(setting.template.format(environ[setting.variable]), f"environment {setting.variable}")
        for setting in SETTINGS
        if setting.name not in given and _is_set(setting, environ)
    }


def _is_set(setting: Setting, environ: Mapping[str, str]) -> bool:
    """Return whether the setting's variable is set. An empty one counts for a list of proxies only: it means none."""
    return bool(environ.get(setting.variable)) or (setting.kind is NETWORKS and setting.variable in environ)


def _merged(
    layers: Iterable[Mapping[str, Given]], values: Mapping[str, Any], sources: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return values and their sources; each layer overrides the layers before it.

    An overridden value is not checked: a flag may replace a wrong value of the file.
    """
    values, sources = dict(values), dict(sources)
    last: dict[str, Given] = {}
    for layer in layers:
        last.update(layer)
    for name, given in last.items():
        values[name], sources[name] = _parsed(name, given), given.source
    if values.get("worker_class") == worker_classes.WEBSOCKET and "wsgi_websocket" not in sources:
        values["wsgi_websocket"], sources["wsgi_websocket"] = True, f"worker_class, {sources['worker_class']}"
    if values.get("debug") and "loglevel" not in sources:
        values["loglevel"], sources["loglevel"] = "debug", f"debug, {sources['debug']}"
    return values, sources


def _parsed(name: str, given: Given) -> Any:
    setting = BY_NAME.get(name)
    if setting is None:
        meant = nearest_setting(name)
        raise ConfigError(f"unknown setting {name!r}" + (f"; did you mean {meant!r}?" if meant else ""))
    try:
        return setting.parse(given.value)
    except ValueError as error:
        raise ConfigError(f"{given.source}: {name} {error}") from None


def _checked(cfg: Config) -> Config:
    """Return a configuration whose pidfile is no other setting's file: the one would replace the other.

    :raises ConfigError: it is.
    """
    if not cfg.pidfile:
        return cfg
    paths = [("errorlog", cfg.errorlog), ("accesslog", cfg.accesslog)]
    sockets = [*(("bind", each) for each in cfg.address), ("admin_bind", cfg.admin_address)]
    addresses = [*sockets, ("control_socket", cfg.control_address)]
    paths += [(name, address.path) for name, address in addresses if isinstance(address, UnixAddress)]
    pidfile = os.path.normpath(os.path.join(cfg.chdir, cfg.pidfile))
    for name, path in paths:
        if path and os.path.normpath(os.path.join(cfg.chdir, path)) == pidfile:
            raise ConfigError(f"{cfg.source('pidfile')}: pidfile {cfg.pidfile!r} is in {name} too: choose another")
    return cfg


# --- warnings


def _warnings(cfg: Config) -> Iterator[str]:
    for setting in SETTINGS:
        if not setting.effective and cfg.values[setting.name] != setting.default:
            yield f"{cfg.source(setting.name)}: {setting.name} has no effect {setting.no_effect}"
    stands_in = worker_classes.note(cfg.worker_class)
    if stands_in is not None:
        yield f"{cfg.source('worker_class')}: {stands_in}"
    if cfg.ssl_version in _OLD_TLS:
        yield f"{cfg.source('ssl_version')}: ssl_version {cfg.ssl_version} is not offered: TLS 1.2 or newer is used"
    if cfg.source("user") != DEFAULT and cfg.source("group") == DEFAULT and cfg.uid != 0 and cfg.gid == 0:
        yield f"{cfg.source('user')}: workers of that user keep root's group: set group too"
    if cfg.reload and cfg.preload_app:
        source = cfg.source("preload_app")
        yield f"{source}: preload_app has no effect together with reload: leave one of the two out"
    if cfg.daemon and cfg.errorlog == "-" and not cfg.enable_stdio_inheritance:
        yield f"{cfg.source('daemon')}: the error log of a daemon is lost: set errorlog"
    yield from _exposed(cfg)


def _exposed(cfg: Config) -> Iterator[str]:
    """Yield a warning for each setting that shows the server's inside to other machines."""
    admin = cfg.admin_address
    if isinstance(admin, TCPAddress) and not admin.is_loopback:
        yield (
            f"{cfg.source('admin_bind')}: admin_bind shows the server's state to everybody who can reach {admin}: "
            "bind to 127.0.0.1 or to unix:PATH"
        )
    if cfg.debug:
        tcp = (address for address in cfg.address if isinstance(address, TCPAddress))
        exposed = ", ".join(str(address) for address in tcp if not address.is_loopback)
        if exposed:
            yield (
                f"{cfg.source('debug')}: debug shows tracebacks to everybody who can reach {exposed}: "
                "turn it off, or bind to 127.0.0.1"
            )
