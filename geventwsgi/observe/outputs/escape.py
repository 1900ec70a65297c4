"""Escape values before they enter a log line, so that they cannot end it or steer a terminal."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain


def _as_byte(code: int) -> str:
    return f"\\x{code:02X}"


class _Field(dict[int, str]):
    """The table for :meth:`str.translate` of a field: nginx's "default" escaping."""

    def __missing__(self, code: int) -> str:
        return "".join(map(_as_byte, chr(code).encode("utf-8", "surrogatepass")))


# Characters that stay: printable ASCII without the quote and the backslash.
_PLAIN = frozenset(range(0x20, 0x7F)).difference(b'"\\')
_FIELD = _Field((code, chr(code) if code in _PLAIN else _as_byte(code)) for code in range(0x100))
# Characters that end a line or steer a terminal: C0 without the tab, DEL, C1, Unicode's line and paragraph separators.
_TEXT = {code: _as_byte(code) for code in chain(range(0x09), range(0x0A, 0x20), range(0x7F, 0xA0))}
_TEXT |= {0x2028: "\\u2028", 0x2029: "\\u2029"}


def fits(line: str, quotes: int = 0, backslashes: int = 0) -> bool:
    """Return whether a line is printable ASCII with the quotes and backslashes of its format, and none in its values.

    One look at the whole line is five times faster than to ask each value.
    """
    return line.isascii() and line.isprintable() and line.count('"') == quotes and line.count("\\") == backslashes


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.observe.outputs._fits import fits  # type: ignore[no-redef]  # noqa: F401 - in place of the above


def escape(value: str) -> str:
    r"""Return ``value`` with quotes, backslashes, control and non-ASCII characters as ``\xNN``.

    A native string of PEP 3333 holds one byte per character, so ``\xNN`` is a byte as the client sent it. A character
    above U+00FF, which can only come from the application, becomes the bytes of its UTF-8 form.
    """
    # Most values stay as they are. These four tests take less time than a translation.
    if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return value
    return value.translate(_FIELD)


def clean(text: str) -> str:
    r"""Return free text with its control characters as ``\xNN``, so that it stays on one line."""
    return text if text.isprintable() else text.translate(_TEXT)


def paired(text: str) -> str:
    r"""Return ``text`` with unpaired surrogates as ``\\uNNNN``: those of a file name that is no UTF-8, for example.

    JSON has an escape for each half of a pair, but most parsers refuse one without the other (RFC 8259, 8.2).
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def indent(text: str) -> str:
    """Return ``text`` cleaned line by line, each line after the first indented.

    A record begins in the first column, so no continuation line can pass for one.
    """
    return "\n  ".join(map(clean, text.replace("\r\n", "\n").split("\n")))
