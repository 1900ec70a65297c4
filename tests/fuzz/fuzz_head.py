"""Fuzz the head parser: any bytes are read alike however they are cut, and what is accepted keeps the rules.

The first two bytes of an input choose bounds, leniency and a cut; the rest is what a client sends.
"""

from __future__ import annotations

import string
import sys
from contextlib import ExitStack
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

with ExitStack() as _stack:
    if __name__ == "__main__":
        import atheris

        atheris.enabled_hooks.add("RegEx")
        _stack.enter_context(atheris.instrument_imports(include=["geventwsgi.http"]))
    from geventwsgi.errors import RequestError
    from geventwsgi.http.head import RequestHead, parse_head
    from geventwsgi.http.limits import STRICT
    from tests.fuzz.target import fuzz
    from tests.wire.differential import CORES, LENIENT, SMALL, Connection, Limits

_TCHAR = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
_CHOICES = ((Limits(), STRICT), (SMALL, STRICT), (Limits(), LENIENT), (SMALL, LENIENT))


def test_one_input(data: bytes) -> None:
    """Check one input; an exception other than ``RequestError`` is a finding."""
    if len(data) < 3:
        return
    limits, leniency = _CHOICES[data[0] % len(_CHOICES)]
    cut, data = data[1], data[2:]
    core = CORES["python"]
    whole = Connection(core, [data], limits, leniency, memory=True).outcome()
    pieces = [piece for piece in (data[:cut], data[cut:]) if piece]
    assert Connection(core, pieces, limits, leniency, memory=True).outcome() == whole
    assert Connection(core, [data], limits, leniency, memory=False).outcome() == whole
    try:
        head = parse_head(data, limits, leniency=leniency)
    except RequestError as error:
        if error.status not in (400, 414, 417, 431, 501, 505):
            raise AssertionError(str(error)) from error
        return
    if head is not None:
        check_accepted(head, data, strict=leniency is STRICT)


def check_accepted(head: RequestHead, data: bytes, *, strict: bool) -> None:
    """Restate what RFC 9110 and 9112 demand of a request, in other words than the parser's."""
    assert data[: head.size].endswith(b"\r\n\r\n")
    assert head.method and set(head.method) <= _TCHAR
    assert all(0x20 < ord(character) < 0x7F and character != "#" for character in head.target)
    assert head.version in ((1, 0), (1, 1))
    if strict:
        assert data[: head.size].count(b"\n") == data[: head.size].count(b"\r") == data[: head.size].count(b"\r\n")
    said: dict[str, list[str]] = {}
    for name, value in head.fields.items:
        assert name and set(name) <= _TCHAR
        assert value == value.strip(" \t")
        assert all(character == "\t" or (character >= " " and character != "\x7f") for character in value)
        said.setdefault(name.lower(), []).append(value)
    hosts = said.get("host", [])
    assert len(hosts) == 1 or (not hosts and head.version == (1, 0))
    check_framing(head, said)


def check_framing(head: RequestHead, said: dict[str, list[str]]) -> None:
    """A request has at most one framing, and that one says a thing that cannot be misread."""
    lengths, codings = said.get("content-length", []), said.get("transfer-encoding", [])
    assert len(lengths) + len(codings) <= 1
    assert all(set(length) <= set(string.digits) and length for length in lengths)
    assert head.fields.content_length == (int(lengths[0]) if lengths else None)
    assert head.fields.chunked == bool(codings)
    assert all(coding.replace(",", "").strip(" \t").lower() == "chunked" for coding in codings)
    assert not (codings and head.version == (1, 0))


if __name__ == "__main__":
    fuzz(test_one_input)
