"""The kinds of values that settings take: how each is read from a flag, a variable or a configuration file.

A parser takes what was given (text from a flag or a variable, any Python value from a file) and returns the value, or
raises ``ValueError`` with a predicate that follows the setting's name: ``must be true or false, not 'maybe'``.
Nothing here depends on a setting.
"""

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from reprlib import Repr
from types import FunctionType
from typing import Any, NamedTuple

from geventwsgi.config import worker_classes
from geventwsgi.config.addresses import networks, parse_address, parse_host_port, parse_statsd_address
from geventwsgi.config.loader import load_object
from geventwsgi.errors import ConfigError

TRUE = ("true", "yes", "y", "on", "1")
FALSE = ("false", "no", "n", "off", "0")
LOGGER_CLASS = "geventwsgi.observe.log.Logger"
#: Loggers of gunicorn that ours stands in for, so that a file naming them needs no gunicorn.
LOGGER_ALIASES = ("simple", "gunicorn.glogging.Logger", "gunicorn.instrument.statsd.Statsd")
#: Factors for the letter after a number of bytes.
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
#: The numbers are those of ``ssl.PROTOCOL_*``, which older files give.
TLS_VERSIONS = {1: "SSLv3", 2: "TLS", 3: "TLSv1", 4: "TLSv1_1", 5: "TLSv1_2", 17: "TLS_SERVER"}

_short = Repr()
_short.maxstring = _short.maxother = 80


# Annotations are no text in this module: NamedTuple would compile each of them at every start.
class Kind(NamedTuple):
    """How a setting is read, and the form of its flag.

    :param parse: what was given -> value; raises ``ValueError`` with a predicate.
    :param metavar: the flag's argument in ``--help``; empty for a flag that takes none. A hook's parameters.
    :param constant: what the flag gives when it stands without an argument; None where it needs one.
    :param repeat: the flag may stand several times, and its arguments add up.
    """

    parse: Callable[[Any], Any]
    metavar: str = ""
    constant: Any = None
    repeat: bool = False


def wrong(expected: str, given: object) -> ValueError:
    """Return the error for a value that is not what was expected."""
    return ValueError(f"must be {expected}, not {_short.repr(given)}")


# --- numbers


def _number(given: Any) -> int | None:
    """Return the whole number that `given` is or spells (``12``, ``0x0c``), or None."""
    if isinstance(given, str):
        spelt = given.strip().lower()
        try:
            return int(spelt, 0 if spelt.lstrip("+-")[:2] in ("0x", "0o", "0b") else 10)
        except ValueError:
            return None
    return int(given) if isinstance(given, int) and not isinstance(given, bool) else None


#: The largest numbers that the system and the compiled core hold: of things to count, of bytes or requests, of workers.
LARGEST_INT = 2**31 - 1
LARGEST = 2**63 - 1
MOST_WORKERS = 4096


def whole(minimum: int = 0, maximum: int | None = None, largest: int = LARGEST_INT) -> Kind:
    """Return the kind of whole numbers within bounds.

    :param largest: the maximum of a number that has no maximum of its own.
    """

    def parse(given: Any) -> int:
        number = _number(given)
        if number is None or number < minimum or (maximum is not None and number > maximum):
            bounds = f"{minimum} or more" if maximum is None else f"from {minimum} to {maximum}"
            raise wrong(f"a whole number, {bounds}", given)
        if number > largest:
            raise wrong(f"a whole number, {largest} at the most", given)
        return number

    return Kind(parse, "INT")


def _workers(given: Any) -> int:
    if isinstance(given, str) and given.strip().lower() == "auto":
        from geventwsgi.config.machine import suitable_workers

        return suitable_workers()
    number = _number(given)
    if number is None or not 1 <= number <= MOST_WORKERS:
        raise wrong(f"a whole number from 1 to {MOST_WORKERS}, or auto", given)
    return number


def _seconds(given: Any) -> int | float:
    number: int | float | None = _number(given)
    if number is None and isinstance(given, str | float):
        try:
            number = float(given)
        except ValueError:
            number = None
    if number is None or not math.isfinite(number) or number < 0:
        raise wrong("a number of seconds, 0 or more", given)
    return number


def _mode(given: Any) -> int:
    """Read permission bits: text that begins with 0 is octal, as every manual page writes it."""
    text = given.strip().lower() if isinstance(given, str) else given
    if isinstance(text, str) and text.startswith("0") and text.isdecimal():
        text = f"0o{text}"
    number = _number(text)
    if number is None or not 0 <= number <= 0o7777:
        raise wrong("permission bits such as 0o022", given)
    return number


def _size(given: Any) -> int:
    """Read a number of bytes: ``268435456``, ``256M``, ``1.5G``."""
    text = str(given).strip().upper().removesuffix("B").removesuffix("I") if isinstance(given, str | int) else ""
    factor = UNITS.get(text[-1:], 1)
    try:
        size = float(text[:-1] if factor > 1 else text) * factor
    except ValueError:
        size = math.nan
    if isinstance(given, bool) or not math.isfinite(size) or size < 0:
        raise wrong("a number of bytes such as 512M", given)
    return int(size)


def _share(given: Any) -> str:
    """Read a count, or a percentage: ``2``, ``25%``."""
    text = given.strip() if isinstance(given, str) else given
    percent = isinstance(text, str) and text.endswith("%")
    number = _number(text[:-1] if percent else text)
    if number is None or number < 1 or (percent and number > 100):
        raise wrong("a whole number from 1 up, or a percentage such as 25%", given)
    return f"{number}%" if percent else str(number)


def _boolean(given: Any) -> bool:
    text = str(given).strip().lower() if isinstance(given, str | bool | int) else ""
    if text not in TRUE + FALSE:
        raise wrong("true or false", given)
    return text in TRUE


COUNT = whole()
LARGE_COUNT = whole(largest=LARGEST)
WORKERS = Kind(_workers, "INT")
SECONDS = Kind(_seconds, "SECONDS")
MODE = Kind(_mode, "MODE")
SIZE = Kind(_size, "BYTES")
SHARE = Kind(_share, "COUNT")
SWITCH = Kind(_boolean, constant=True)
SWITCH_OFF = Kind(_boolean, constant=False)


# --- text


def _text(given: Any) -> str:
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if not isinstance(given, str):
        raise wrong("text", given)
    if "\0" in given:
        raise wrong("text without a null character", given)
    return given.strip()


def _url_path(given: Any) -> str | None:
    path = _text(given)
    if path and not (path.startswith("/") and path.isascii() and path.isprintable() and not set(" ?#") & set(path)):
        raise wrong("a path such as /healthz", given)
    return path or None


def _field_text(given: Any) -> str:
    """Read the value of a header field, which must fit one line of latin-1."""
    text = _text(given)
    if not all(0x20 <= ord(char) < 0x7F or 0xA0 <= ord(char) < 0x100 for char in text):
        raise wrong("one line of printable text in latin-1", given)
    return "" if text.lower() == "none" else text


#: Fields that HTTP itself reads: a text of another meaning there breaks the message.
_STEERING = {"connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"}


def _field_name(given: Any) -> str | None:
    """Read the name of a header field (RFC 9110 section 5.1), which an environ can show."""
    name = _text(given)
    if name and (name.lower() in _STEERING or not re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", name)):
        raise wrong("the name of a header field of its own such as X-Request-Id", given)
    return name if name and name.lower() != "none" else None


def _affinity(given: Any) -> str:
    """Read how requests belong to workers: ``off``, ``address``, or a word and a name."""
    how, colon, name = _text(given).partition(":")
    how = how.strip().lower()
    if how == "cookie" and not colon:
        name = "gwsgi-worker"
    if how in ("off", "address") and not colon:
        return how
    if how not in ("cookie", "query", "header") or not re.fullmatch(r"[A-Za-z0-9_.~-]+", name):
        raise wrong("off, cookie, cookie:NAME, query:NAME, header:NAME or address", given)
    return f"{how}:{name}"


def one_of(*choices: str, metavar: str = "NAME", constant: str | None = None, **aliases: str) -> Kind:
    """Return the kind of a few words, in any case; an alias stands for the choice it maps to."""

    def parse(given: Any) -> str:
        word = given.strip().lower() if isinstance(given, str) else given
        word = aliases.get(str(word).lower(), word)
        if word not in choices:
            raise wrong("one of " + ", ".join(choices), given)
        return str(word)

    return Kind(parse, metavar, constant)


TEXT = Kind(_text, "TEXT")
ACCESS_FORMAT = Kind(lambda given: re.sub(r"(?i)^json$", "json", _text(given)), "TEXT")
FIELD_TEXT = Kind(_field_text, "TEXT")
PATH = Kind(_text, "FILE")
AFFINITY = Kind(_affinity, "HOW")
FIELD_NAME = Kind(_field_name, "NAME")
DIRECTORY = Kind(_text, "DIR")
URL_PATH = Kind(_url_path, "PATH")


# --- several values


def _strings(given: Any) -> list[str]:
    values = [given] if isinstance(given, str | os.PathLike) else given
    if not isinstance(values, list | tuple | set | frozenset):
        raise wrong("text or a list of texts", given)
    return [_text(value) for value in values]


def _comma_separated(given: Any) -> list[str]:
    return [part.strip() for text in _strings(given) for part in text.split(",") if part.strip()]


def _networks(given: Any) -> list[str]:
    addresses = _comma_separated(given)
    try:
        networks(addresses)
    except ValueError as error:
        raise ValueError(f"must list IP addresses or networks, or '*': {error}") from None
    return addresses


def _binds(given: Any) -> list[str]:
    binds = _comma_separated(str(given) if _number(given) is not None else given)
    if not binds:
        raise wrong("at least one address", given)
    for bind in binds:
        parse_address(bind)
    return binds


def _own_address(given: Any) -> str | None:
    """Read an address that the server itself binds."""
    text = str(given) if _number(given) is not None else _text(given)
    if not text or text.lower() in ("none", "off"):
        return None
    if text.startswith("fd://"):
        raise wrong("HOST:PORT or unix:PATH", given)
    parse_address(text)
    return text


def _buckets(given: Any) -> list[float]:
    """Read the upper bounds of a histogram's buckets, in seconds."""
    if isinstance(given, str):
        given = _comma_separated(given)
    bounds = [float(_seconds(bound)) for bound in given] if isinstance(given, list | tuple) else []
    if not 0 < len(bounds) <= 30 or bounds != sorted({*bounds}) or bounds[0] <= 0:
        raise wrong("up to 30 numbers of seconds above 0, each larger than the one before", given)
    return bounds


def _assignments(given: Any) -> list[str]:
    pairs = _strings(given)
    for pair in pairs:
        if not pair.partition("=")[1] or pair.startswith("="):
            raise ValueError(f"must be NAME=VALUE, not {pair!r}")
    return pairs


def _protocols(given: Any) -> list[str]:
    names = [name.lower() for name in _comma_separated(given)] or ["h1"]
    if not set(names) <= {"h1", "h2"} or len(set(names)) < len(names):
        raise wrong("h1, h2 or both, each once", given)
    return names


def _skipped(given: Any) -> list[str]:
    entries = _comma_separated(given)
    for entry in entries:
        if not (entry.startswith("/") or re.fullmatch(r"[1-5](\d\d|xx)", entry.lower())):
            raise ValueError(
                f"must list statuses (404), classes of statuses (2xx) and paths (/static/*), not {entry!r}"
            )
    return entries


def _dictionary(given: Any) -> dict[Any, Any]:
    if not isinstance(given, Mapping):
        raise wrong("a dictionary", given)
    return dict(given)


def _header_values(given: Any) -> dict[str, str]:
    headers = _dictionary(given)
    if not all(isinstance(text, str) for item in headers.items() for text in item):
        raise wrong("a dictionary of header names and values", given)
    return {name.upper(): value for name, value in headers.items()}


STRINGS = Kind(_strings, "TEXT", repeat=True)
SKIPPED = Kind(_skipped, "LIST")
NAMES = Kind(lambda given: [name.upper() for name in _comma_separated(given)], "NAMES")
DIRECTORIES = Kind(_comma_separated, "DIRS")
NETWORKS = Kind(_networks, "ADDRESSES")
OWN_ADDRESS = Kind(_own_address, "ADDRESS")
BUCKETS = Kind(_buckets, "SECONDS")
BINDS = Kind(_binds, "ADDRESS", repeat=True)
ASSIGNMENTS = Kind(_assignments, "NAME=VALUE", repeat=True)
PROTOCOLS = Kind(_protocols, "NAMES")
DICTIONARY = Kind(_dictionary)
HEADER_VALUES = Kind(_header_values)


# --- names of things


def _worker_class(given: Any) -> Any:
    name = worker_classes.known(given)
    if name is not None:
        return name
    why = worker_classes.refusal(given)
    if why is not None:
        raise ValueError(f"cannot be used: {why}")
    if isinstance(given, type):
        return given
    name = _text(given)
    module, separator, attribute = name.partition(":")
    if not separator:
        module, separator, attribute = name.rpartition(".")
    if not (separator and module and all(part.isidentifier() for part in attribute.split("."))):
        valid = ", ".join(worker_classes.GEVENT)
        raise wrong(f"one of {valid}, or MODULE:CLASS for a subclass of geventwsgi.Worker", given)
    return f"{module}:{attribute}"


def _logger_class(given: Any) -> Any:
    if isinstance(given, FunctionType):
        given = given()
    if isinstance(given, type):
        return given
    name = _text(given)
    return LOGGER_CLASS if name in LOGGER_ALIASES else name


def _tls_version(given: Any) -> str:
    names = [*TLS_VERSIONS.values(), "TLSv1_3"]
    number = _number(given)
    name = TLS_VERSIONS.get(number) if number is not None else str(given).strip().removeprefix("PROTOCOL_")
    name = "TLS" if name in ("SSLv23", "TLS_SERVER") else name
    if name not in names:
        raise wrong("one of " + ", ".join(names), given)
    return str(name)


def _cert_reqs(given: Any) -> int:
    names = ("CERT_NONE", "CERT_OPTIONAL", "CERT_REQUIRED")
    number = names.index(given) if given in names else _number(given)
    if number not in (0, 1, 2):
        raise wrong("0 (none), 1 (optional) or 2 (required)", given)
    return number


def account(what: str, lookup: Callable[[str], int]) -> Kind:
    """Return the kind of a user or group: its number, or its name, which `lookup` knows (or raises ``KeyError``)."""

    def parse(given: Any) -> int:
        number = _number(given)
        if number is not None and 0 <= number < 2**32 - 1:
            return number
        try:
            return lookup(_text(given))
        except (KeyError, ImportError):
            raise wrong(f"a {what} of this system", given) from None

    return Kind(parse, what.upper())


def _uid(name: str) -> int:
    import pwd  # only on POSIX

    return pwd.getpwnam(name).pw_uid


def _gid(name: str) -> int:
    import grp  # only on POSIX

    return grp.getgrnam(name).gr_gid


def _syslog(given: Any) -> str:
    address = _text(given)
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in ("udp", "tcp", "unix"):
        raise wrong("udp://HOST:PORT, tcp://HOST:PORT or unix://PATH", given)
    if rest and scheme != "unix":
        parse_host_port(rest, 514)
    return address


def _statsd(given: Any) -> tuple[str, int] | str:
    if isinstance(given, tuple) and len(given) == 2:  # the result of an earlier parse
        given = "{}:{}".format(*given)
    return parse_statsd_address(_text(given))


WORKER_CLASS = Kind(_worker_class, "NAME")
LOGGER = Kind(_logger_class, "CLASS")
TLS_VERSION = Kind(_tls_version, "NAME")
CERT_REQS = Kind(_cert_reqs, "INT")
USER = account("user", _uid)
GROUP = account("group", _gid)
SYSLOG = Kind(_syslog, "ADDRESS")
STATSD = Kind(_statsd, "ADDRESS")


# --- hooks


def nothing(*_arguments: Any) -> None:
    """Do nothing: the default of every hook that need not return."""


def default_ssl_context(_config: Any, default_ssl_context_factory: Callable[[], Any]) -> Any:
    """Return the context as the settings ask for it."""
    return default_ssl_context_factory()


def _accepts(function: Callable[..., Any], count: int) -> bool:
    import inspect  # slow to import, and most servers have no hook

    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature; its first call will show an error
        return True
    return True


def hook(parameters: str, *, shorter: Iterable[int] = ()) -> Kind:
    """Return the kind of functions that are called with `parameters`, a comma-separated list of names.

    :param shorter: numbers of leading parameters that older files take; such a function is wrapped.
    """
    names = parameters.split(", ")

    def parse(given: Any) -> Callable[..., Any]:
        try:
            function = load_object(given, "hook")
        except ConfigError as error:
            raise ValueError(f"must be a function: {error}") from None
        if not callable(function):
            raise wrong(f"a function that takes ({parameters})", given)
        if _accepts(function, len(names)):
            return function  # type: ignore[no-any-return]  # what it returns is its caller's to know
        for count in shorter:
            if _accepts(function, count):
                return lambda *arguments: function(*arguments[:count])
        import inspect  # as above

        name = getattr(function, "__name__", type(function).__name__)
        raise ValueError(f"must take ({parameters}), but {name} takes {inspect.signature(function)}")

    return Kind(parse, parameters)
