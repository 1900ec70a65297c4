"""The access record, and the format that turns it into a line.

Compiles a format once into a function that computes only the atoms it names. Must not know where the line goes
(:mod:`geventwsgi.observe.log` does), nor anything of sockets or of the gateway.

A value may come from the client: whatever it holds, it stays inside its field (:func:`~.escape.escape`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geventwsgi.observe.atoms import MISSING, find_atom
from geventwsgi.observe.escape import escape

if TYPE_CHECKING:
    from geventwsgi.http.head import RequestHead
    from geventwsgi.observe.atoms import Atom

DEFAULT_FORMAT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'

#: Renders one line, without its newline, of (resp, req, environ, duration in seconds).
Render = Callable[[Any, Any, Mapping[str, Any], float], str]


@dataclass(slots=True)
class Record:
    """One request and its response, made when the response has ended, however it ended."""

    #: None for a request that was refused before its head was understood.
    req: RequestHead | None
    #: Has ``status`` ("200 OK"), ``headers`` and ``sent`` (bytes of body).
    resp: Any
    #: May be empty, or hold REMOTE_ADDR alone, when the request never reached the application.
    environ: Mapping[str, Any]
    #: Seconds that it took.
    duration: float


class SafeAtoms(dict[str, Any]):
    """Atoms as a format's mapping: strings escaped, ``{name}x`` in any case, ``-`` for what is missing."""

    def __init__(self, atoms: Mapping[str, Any]) -> None:
        super().__init__((key, escape(value) if isinstance(value, str) else value) for key, value in atoms.items())

    def __getitem__(self, key: str) -> Any:
        """Return the atom, or ``-``: a line with a hole is better than no line."""
        value = self.get(key.lower() if key.startswith("{") else key, MISSING)
        return value if isinstance(value, (str, int, float)) else escape(str(value))


_CONVERSION = re.compile(
    r"%(?:%|\((?P<atom>(?:[^()]|\([^()]*\))*)\)(?P<spec>[#0\- +]*\d*(?:\.\d+)?[hlL]?(?P<type>[diouxXeEfFgGcrsa])))",
)
_NUMERIC = frozenset("diouxXeEfFgG")


def _number(atom: Atom) -> Atom:
    """Return the atom as a number, for a format that asks for one of a text (``%(s)d``)."""

    def number(resp: Any, req: Any, environ: Mapping[str, Any], duration: float) -> Any:
        value = atom(resp, req, environ, duration)
        if isinstance(value, str):
            return float(value) if "." in value else int(value)
        return value

    return number


def compile_format(text: str) -> Render:
    """Compile an ``access_log_format`` into the function that renders a line of it.

    :raises ValueError: the format cannot be read; the message says where.
    """
    pieces: list[str] = []
    plain: list[str] = []
    atoms: list[Atom] = []
    exact: list[Atom] = []
    position = 0
    for match in _CONVERSION.finditer(text):
        pieces.append(_literal(text, position, match.start()))
        plain.append(pieces[-1])
        position = match.end()
        if match["atom"] is None:
            pieces.append("%%")
            plain.append("%%")
            continue
        atom = find_atom(match["atom"])
        atoms.append(atom)
        exact.append(_number(atom) if match["type"] in _NUMERIC else atom)
        pieces.append("%" + match["spec"])
        plain.append("%s")
    rest = _literal(text, position, len(text))
    return _renderer("".join(pieces) + rest, tuple(exact), "".join(plain) + rest, tuple(atoms))


def _literal(text: str, start: int, end: int) -> str:
    literal = text[start:end]
    if "%" in literal:
        at = start + literal.index("%")
        raise ValueError(
            f"{text[at : at + 12]!r} names no atom (column {at + 1}); write %(h)s, or %% for a percent sign"
        )
    return literal


def _renderer(template: str, exact: tuple[Atom, ...], plain: str, atoms: tuple[Atom, ...]) -> Render:
    quotes, backslashes = template.count('"'), template.count("\\")

    def render(resp: Any, req: Any, environ: Mapping[str, Any], duration: float) -> str:
        try:
            values = [atom(resp, req, environ, duration) for atom in exact]
            line = template % tuple(values)
        except (TypeError, ValueError, OverflowError):
            # A number was asked for and there is none, as in %(B)d of a request without a response.
            return plain % tuple([escape(str(atom(resp, req, environ, duration))) for atom in atoms])
        # One look at the whole line tells whether any value needs escaping: five times faster than to ask each.
        if line.isascii() and line.isprintable() and line.count('"') == quotes and line.count("\\") == backslashes:
            return line
        return template % tuple([escape(value) if isinstance(value, str) else value for value in values])

    return render
