"""The access record, and the format that turns it into a line.

Compiles a format once into a function that computes only the atoms it names. Must not know where the line goes
(:mod:`geventwsgi.observe.log` does), nor anything of sockets or of the gateway.

A value may come from the client: whatever it holds, it stays inside its field (:func:`~.outputs.escape.escape`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from geventwsgi.observe.atoms import MISSING, common_time, find_atom, status_code, user_name
from geventwsgi.observe.outputs.escape import escape, fits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geventwsgi.observe.atoms import Atom

#: Apache's format "combined", which :class:`Combined` renders.
COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'


class Record:
    """One request and its response, made when the response has ended, well or not."""

    __slots__ = ("duration", "environ", "req", "resp")

    def __init__(self, req: Any, resp: Any, environ: Mapping[str, Any], duration: float) -> None:
        #: The request or its head; None if its head could not be parsed.
        self.req = req
        #: The response, with ``status`` ("200 OK"), ``headers`` and ``sent`` (bytes of body).
        self.resp = resp
        #: The environ. If the request never reached the application, it is empty or has only REMOTE_ADDR.
        self.environ = environ
        #: Seconds from the request to the end of the response.
        self.duration = duration


class SafeAtoms(dict[str, Any]):
    """The atoms for the operator ``%``: strings are escaped, ``{NAME}x`` may have any case, a missing atom is ``-``."""

    def __init__(self, atoms: Mapping[str, Any]) -> None:
        super().__init__((key, escape(value) if isinstance(value, str) else value) for key, value in atoms.items())

    def __getitem__(self, key: str) -> Any:
        """Return the atom, or ``-`` for one that is missing."""
        value = self.get(key.lower() if key.startswith("{") else key, MISSING)
        return value if isinstance(value, (str, int, float)) else escape(str(value))


_ATOM = r"\((?P<{}>(?:[^()]|\([^()]*\))*)\)"
_CONVERSION = re.compile(
    rf"%(?:%|{_ATOM.format('atom')}(?P<spec>[#0\- +]*\d*(?:\.\d+)?[hlL]?(?P<type>[diouxXeEfFgGcrsa]))"
    rf"|{_ATOM.format('bare')})"
)
_NUMERIC = frozenset("diouxXeEfFgG")


def _number(atom: Atom) -> Atom:
    """Return an atom whose text is converted to a number, since the format wants a number (``%(s)d``)."""

    def number(resp: Any, req: Any, environ: Mapping[str, Any], duration: float) -> Any:
        value = atom(resp, req, environ, duration)
        if isinstance(value, str):
            return float(value) if "." in value else int(value)
        return value

    return number


def compile_format(text: str) -> Renderer:
    """Compile an ``access_log_format`` into a renderer of its lines.

    A faulty part is replaced by what :func:`format_faults` names; the rest is logged as it should be.
    """
    pieces: list[str] = []
    plain: list[str] = []
    atoms: list[Atom] = []
    exact: list[Atom] = []
    position = 0
    for match in _CONVERSION.finditer(text):
        pieces.append(text[position : match.start()].replace("%", "%%"))
        plain.append(pieces[-1])
        position = match.end()
        name = match["atom"] if match["bare"] is None else match["bare"]
        if name is None:
            pieces.append("%%")
            plain.append("%%")
            continue
        atom = find_atom(name)
        atoms.append(atom)
        exact.append(_number(atom) if match["type"] in _NUMERIC else atom)
        pieces.append("%" + (match["spec"] or "s"))
        plain.append("%s")
    rest = text[position:].replace("%", "%%")
    compiled = (exact, "".join(pieces) + rest, atoms, "".join(plain) + rest)
    if not text.startswith(COMBINED):
        return Renderer(*compiled)
    return Combined(*compiled, more=compile_format(text[len(COMBINED) :]) if text != COMBINED else None)


def format_faults(text: str) -> list[str]:
    """Return a line for each faulty part of an ``access_log_format``: the fault, and what is logged instead."""
    faults = []
    position = 0
    for match in _CONVERSION.finditer(text):
        faults += _stray(text, position, match.start())
        position = match.end()
        if match["bare"] is not None:
            shown = text[match.start() : match.end()]
            faults.append(f"{shown!r} has no s behind it (column {match.start() + 1}): it is taken for {shown + 's'!r}")
    return faults + _stray(text, position, len(text))


def _stray(text: str, start: int, end: int) -> list[str]:
    return [
        f"{text[at : at + 12]!r} names no atom (column {at + 1}) and is logged as it is: write %(h)s, or %% for a "
        "percent sign"
        for at in range(start, end)
        if text[at] == "%"
    ]


class Renderer:
    """Renders lines of one format.

    :param template: the format for the values of ``exact``, with the conversions that the operator has written.
    :param plain: the same format for the values of ``atoms``, each converted to text.
    """

    __slots__ = ("_atoms", "_backslashes", "_exact", "_plain", "_quotes", "_template")

    #: Whether :mod:`logging` gets a finished line; otherwise it gets the format and the atoms.
    finished = False

    def __init__(self, exact: list[Atom], template: str, atoms: list[Atom], plain: str) -> None:
        self._exact = exact
        self._template = template
        self._atoms = atoms
        self._plain = plain
        self._quotes = template.count('"')
        self._backslashes = template.count("\\")

    def __call__(self, resp: Any, req: Any, environ: Mapping[str, Any], duration: float) -> str:
        """Return the line of a record, given in parts."""
        return self.line(Record(req, resp, environ, duration))

    def line(self, record: Record) -> str:
        """Return a record's line, without its newline."""
        resp, req, environ, duration = record.resp, record.req, record.environ, record.duration
        try:
            values = [atom(resp, req, environ, duration) for atom in self._exact]
            line = self._template % tuple(values)
        except (TypeError, ValueError, OverflowError):
            # The format asks for a number that is missing, as %(B)d does for a request without a response.
            return self._plain % tuple([escape(str(atom(resp, req, environ, duration))) for atom in self._atoms])
        if fits(line, self._quotes, self._backslashes):
            return line
        return self._template % tuple([escape(value) if isinstance(value, str) else value for value in values])


class Combined(Renderer):
    """Renders the format ``COMBINED``, and formats that begin with it, in a third of the time.

    It makes the lines of ordinary requests without the atoms, with the same result. :class:`Renderer` makes the others.

    :param more: renders the part of the format that follows ``COMBINED``.
    """

    __slots__ = ("_clock", "_code", "_more", "_sent", "_size", "_status")

    def __init__(
        self, exact: list[Atom], template: str, atoms: list[Atom], plain: str, *, more: Renderer | None
    ) -> None:
        Renderer.__init__(self, exact, template, atoms, plain)
        self._more = more
        self._clock = common_time
        # The last status, and its code; the last size, and its text.
        self._status, self._code = "", status_code("")
        self._sent, self._size = 0, "0"

    def line(self, record: Record) -> str:
        """See :meth:`Renderer.line`."""
        line = self._combined(record.environ, record.resp) if type(record.environ) is dict else None
        if line is None:
            return Renderer.line(self, record)
        return line if self._more is None else line + self._more.line(record)

    def _combined(self, environ: dict[str, Any], resp: Any) -> str | None:
        """Return the line; None if :class:`Renderer` must make it."""
        method, target = environ.get("REQUEST_METHOD"), environ.get("RAW_URI")
        protocol = environ.get("SERVER_PROTOCOL")
        address = environ.get("REMOTE_ADDR") or MISSING
        referer, agent = environ.get("HTTP_REFERER", MISSING), environ.get("HTTP_USER_AGENT", MISSING)
        status, sent = resp.status, getattr(resp, "sent", None)
        if not (
            type(method) is str
            and type(target) is str
            and type(protocol) is str
            and type(address) is str
            and type(referer) is str
            and type(agent) is str
            and type(status) is str
            and type(sent) is int
        ):
            return None
        if status is not self._status:
            self._status, self._code = status, status_code(status)
        if sent != self._sent:
            self._sent, self._size = sent, str(sent)
        authorization = environ.get("HTTP_AUTHORIZATION")
        user = MISSING if authorization is None else user_name(authorization)
        line = (
            f'{address} - {user} {self._clock.now()} "{method} {target} {protocol}" {self._code} {self._size} '
            f'"{referer}" "{agent}"'
        )
        return line if fits(line, 6) else None
