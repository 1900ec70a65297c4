"""How a value is made harmless before it enters a log line.

Knows characters only. Must not know what a value means, where it came from or where the line goes.
"""

from __future__ import annotations

import re
from contextlib import suppress

# Everything but printable ASCII, and of that not the quote and the backslash: what nginx's "default" escaping changes.
_UNSAFE_IN_FIELD = re.compile(r"[^ !#-\[\]-~]")
# What ends a line or steers a terminal: C0 but the tab, DEL, C1, and Unicode's line and paragraph separators.
_UNSAFE_IN_TEXT = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def fits(line: str, quotes: int = 0, backslashes: int = 0) -> bool:
    """Return whether a line is printable ASCII with so many quotes and backslashes: its format's, and none of a value.

    One look at the whole line is five times faster than to ask each value.
    """
    return line.isascii() and line.isprintable() and line.count('"') == quotes and line.count("\\") == backslashes


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.observe._fits import fits  # type: ignore[no-redef]  # noqa: F401 - in place of the above


def escape(value: str) -> str:
    r"""Return ``value`` with quotes, backslashes, control and non-ASCII characters as ``\xNN``.

    A native string of PEP 3333 holds one byte per character, so ``\xNN`` is a byte as the client sent it. A character
    above U+00FF, which can only come from the application, becomes the bytes of its UTF-8 form.
    """
    # Most values need nothing, and these four looks cost half of what the expression does.
    if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return value
    return _UNSAFE_IN_FIELD.sub(_as_bytes, value)


def clean(text: str) -> str:
    r"""Return free text with its control characters as ``\xNN``, so that it stays on one line."""
    return text if text.isprintable() else _UNSAFE_IN_TEXT.sub(_as_escape, text)


def indent(text: str) -> str:
    """Return ``text`` cleaned line by line, each line after the first indented.

    A record begins in the first column, so no continuation line can pass for one.
    """
    return "\n  ".join(map(clean, text.replace("\r\n", "\n").split("\n")))


def _as_bytes(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02X}"
    return "".join(f"\\x{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


def _as_escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}"
