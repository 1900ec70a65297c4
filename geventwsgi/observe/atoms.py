"""The atoms of an access line: one function each, with gunicorn's names and meanings.

A value comes from the environ as the application has left it, so that an address which a middleware has corrected is
the one that is logged. If the environ does not have it, it comes from the request's head. This module knows no formats
and escapes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from geventwsgi import clock

#: The value of an unknown atom.
MISSING = "-"

#: Computes one atom of (resp, req, environ, duration in seconds).
Atom = Callable[[Any, Any, Mapping[str, Any], float], Any]


class CommonLogTime:
    """The time in the Common Log Format, formatted once per second. Month names do not follow the locale."""

    __slots__ = ("_cached",)
    _MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

    def __init__(self) -> None:
        # Second and text are one tuple, so that a thread never sees those of different times.
        self._cached = (-1, "")

    def now(self) -> str:
        """Return for example ``[22/Nov/2026:20:13:43 +0000]``."""
        return self.at(clock.second())

    def at(self, second: int) -> str:
        """Return the text for a second since 1970. For the same second it is the same object."""
        cached, text = self._cached
        if second != cached:
            text = self._format(second)
            self._cached = (second, text)
        return text

    def _format(self, second: int) -> str:
        local = time.localtime(second)
        sign = "-" if local.tm_gmtoff < 0 else "+"
        hours, minutes = divmod(abs(local.tm_gmtoff) // 60, 60)
        day = f"{local.tm_mday:02}/{self._MONTHS[local.tm_mon - 1]}/{local.tm_year:04}"
        clock = f"{local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02}"
        return f"[{day}:{clock} {sign}{hours:02}{minutes:02}]"


common_time = CommonLogTime()


def status_code(status: Any) -> str:
    """Return ``"200"`` of ``"200 OK"``, ``b"200 OK"`` or ``200``; ``-`` of nothing."""
    if isinstance(status, bytes):
        status = status.decode("latin-1")
    return str(status or MISSING).split(None, 1)[0]


def user_name(authorization: str | None) -> str:
    """Return the user of Basic credentials (RFC 7617), one character per byte; ``-`` of anything else."""
    if not authorization:
        return MISSING
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return MISSING
    import base64  # for clients that show a password

    try:
        user, colon, _ = base64.b64decode(credentials.strip(), validate=True).partition(b":")
    except ValueError:
        return MISSING
    return user.decode("latin-1") if colon and user else MISSING


def field_items(message: Any) -> Iterable[tuple[str, Any]]:
    """Return the header fields of a request head, a response, or another object with ``headers``."""
    fields = getattr(message, "fields", None)
    headers = getattr(message, "headers", ()) if fields is None else fields.items
    items = getattr(headers, "items", None)
    return items() if callable(items) else headers or ()


def _user(_resp: Any, req: Any, environ: Mapping[str, Any], _duration: float) -> str:
    value = environ.get("HTTP_AUTHORIZATION")
    if value is None and "REQUEST_METHOD" not in environ:
        value = _field(req, "authorization")
    return user_name(value)


def _method(_resp: Any, req: Any, environ: Mapping[str, Any], _duration: float) -> Any:
    return environ.get("REQUEST_METHOD") or getattr(req, "method", MISSING)


def _protocol(_resp: Any, req: Any, environ: Mapping[str, Any], _duration: float) -> Any:
    value = environ.get("SERVER_PROTOCOL")
    if not value:
        version = getattr(req, "version", None)
        value = "HTTP/{}.{}".format(*version) if version else MISSING
    return value


def _request_line(resp: Any, req: Any, environ: Mapping[str, Any], duration: float) -> str:
    try:
        return f"{environ['REQUEST_METHOD']} {environ['RAW_URI']} {environ['SERVER_PROTOCOL']}"
    except KeyError:
        if req is None:
            return MISSING
    protocol = _protocol(resp, req, environ, duration)
    return f"{_method(resp, req, environ, duration)} {getattr(req, 'uri', MISSING)} {protocol}"


def _sent(resp: Any, _req: Any, _environ: Mapping[str, Any], _duration: float) -> Any:
    sent = getattr(resp, "sent", None)
    return MISSING if sent is None else sent


def _of_environ(key: str, attribute: str) -> Atom:
    """Return the function for a variable of CGI that the request has as an attribute, too."""

    def atom(_resp: Any, req: Any, environ: Mapping[str, Any], _duration: float) -> Any:
        value = environ.get(key)
        return getattr(req, attribute, MISSING) if value is None else value

    return atom


def _field_of_environ(key: str, name: str) -> Atom:
    def atom(_resp: Any, req: Any, environ: Mapping[str, Any], _duration: float) -> Any:
        value = environ.get(key)
        if value is None and "REQUEST_METHOD" not in environ:
            value = _field(req, name)
        return MISSING if value is None else value

    return atom


def _missing(_resp: Any, _req: Any, _environ: Mapping[str, Any], _duration: float) -> str:
    return MISSING


ATOMS: Mapping[str, Atom] = {
    "h": lambda _resp, _req, environ, _duration: environ.get("REMOTE_ADDR") or MISSING,
    "l": _missing,
    "u": _user,
    "t": lambda _resp, _req, _environ, _duration: common_time.now(),
    "r": _request_line,
    "m": _method,
    "U": _of_environ("PATH_INFO", "path"),
    "q": _of_environ("QUERY_STRING", "query"),
    "H": _protocol,
    "s": lambda resp, _req, _environ, _duration: status_code(resp.status),
    "B": _sent,
    "b": lambda resp, req, environ, duration: str(_sent(resp, req, environ, duration)),
    "f": _field_of_environ("HTTP_REFERER", "referer"),
    "a": _field_of_environ("HTTP_USER_AGENT", "user-agent"),
    "T": lambda _resp, _req, _environ, duration: int(duration),
    "D": lambda _resp, _req, _environ, duration: round(duration * 1_000_000),
    "M": lambda _resp, _req, _environ, duration: round(duration * 1_000_000) // 1000,
    "L": lambda _resp, _req, _environ, duration: f"{duration:.6f}",
    "p": lambda _resp, _req, _environ, _duration: f"<{os.getpid()}>",
}


def _field(message: Any, name: str) -> str | None:
    """Return a field's value by its lower-case name; several fields of the name as one list (RFC 9110 section 5.3)."""
    values = [value for key, value in field_items(message) if key.lower() == name]
    if len(values) > 1:
        return ", ".join(map(str, values))
    return str(values[0]) if values else None


def _shown(message: Any, name: str) -> str:
    value = _field(message, name)
    return MISSING if value is None else value


def _variable(name: str) -> Atom:
    """Return the function for a variable, whose name may have any case. CGI's are upper case, ``wsgi.*`` are not."""
    spellings = tuple(dict.fromkeys((name.upper(), name, name.lower())))
    folded = name.lower()

    def atom(_resp: Any, _req: Any, environ: Mapping[str, Any], _duration: float) -> str:
        for spelling in spellings:
            if spelling in environ:
                return str(environ[spelling])
        return next((str(value) for key, value in environ.items() if key.lower() == folded), MISSING)

    return atom


#: The functions for ``{NAME}i``, ``{NAME}o`` and ``{NAME}e``, by the letter.
_FAMILIES: Mapping[str, Callable[[str], Atom]] = {
    "i": lambda name: lambda _resp, req, _environ, _duration: _shown(req, name),
    "o": lambda name: lambda resp, _req, _environ, _duration: _shown(resp, name),
    "e": _variable,
}


def find_atom(name: str) -> Atom:
    """Return the function for ``h``, ``{user-agent}i`` or another name. For an unknown name it always returns ``-``."""
    family = _FAMILIES.get(name[-1:]) if name.startswith("{") and name[-2:-1] == "}" else None
    if family is None:
        return ATOMS.get(name, _missing)
    return family(name[1:-2] if family is _variable else name[1:-2].lower())


def all_atoms(resp: Any, req: Any, environ: Mapping[str, Any], duration: float) -> dict[str, Any]:
    """Return all atoms, not escaped, for a logger that makes its own line."""
    atoms = {name: atom(resp, req, environ, duration) for name, atom in ATOMS.items()}
    for suffix, message in (("i", req), ("o", resp)):
        for name, value in field_items(message):
            key = f"{{{name.lower()}}}{suffix}"
            atoms[key] = f"{atoms[key]}, {value}" if key in atoms else value
    for name, value in environ.items():
        atoms[f"{{{name.lower()}}}e"] = value
    return atoms
