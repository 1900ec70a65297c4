"""Parse well-formed heads. Others are left to ``lines`` and ``fields``, which name the fault.

Each function exists twice: here in Python by the regular expressions of ``grammar``, and in ``_scan.pyx`` byte by byte
by the same sets of characters. Both return the same.
"""

from __future__ import annotations

from contextlib import suppress

from geventwsgi.http import grammar

__all__ = ["changed_items", "end_of_head", "end_of_line", "field_items", "request_line", "start_of_head"]

Item = tuple[str, str]


def start_of_head(buffer: bytes) -> int:
    """Return where a head begins: one empty line before it is ignored (RFC 9112 section 2.2)."""
    return 2 if buffer.startswith(b"\r\n") else 0


def end_of_line(buffer: bytes, start: int) -> int:
    """Return where the CRLF stands that ends the line that begins at ``start``; -1 if it has not come."""
    return buffer.find(b"\r\n", start)


def end_of_head(buffer: bytes, start: int) -> int:
    """Return where the CRLF CRLF stands that ends a head, searched from ``start`` on; -1 if it has not come."""
    return buffer.find(b"\r\n\r\n", start)


def request_line(buffer: bytes, start: int, end: int) -> tuple[str, str, str] | None:
    """Return method, target and the last digit of the version of ``buffer[start:end]``; None if it is not served."""
    match = grammar.SERVED_REQUEST_LINE.fullmatch(buffer[start:end].decode("latin-1"))
    return None if match is None else (match[1], match[2], match[3])


def field_items(block: bytes) -> list[Item] | None:
    """Return name and value of field lines, each with its CRLF; None if one is malformed."""
    text = block.decode("latin-1")
    if grammar.FIELD_LINES.fullmatch(text) is None:
        return None
    items = []
    for line in text.split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        items.append((name, value.strip(grammar.OWS)))
    return items


def changed_items(
    former: bytes, raw: bytes, items: tuple[Item, ...]
) -> tuple[tuple[Item, ...], tuple[Item, ...]] | None:
    """Return the items of a block that differs from a well-formed former one in values alone, and which are new.

    :param former: as :attr:`.Fields.raw`, whose lines after the first are ``items``.
    :param raw: the block, as well.
    :returns: None if more differs, or a line that does is malformed.
    """
    lines, former_lines = raw.split(b"\r\n"), former.split(b"\r\n")
    if len(lines) != len(former_lines) or lines[0] != former_lines[0]:
        return None
    now, changed = list(items), []
    for index, item in enumerate(items):
        line = lines[index + 1]
        if line != former_lines[index + 1]:
            name, colon, value = line.decode("latin-1").partition(":")
            if name != item[0] or not colon or grammar.FIELD_VALUE.fullmatch(value) is None:
                return None
            now[index] = (name, value.strip(grammar.OWS))
            changed.append(now[index])
    return (tuple(now), tuple(changed)) if lines[len(items) + 1 :] == [b""] else None


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.http._scan import (  # type: ignore[no-redef]  # the twins in C
        changed_items,
        end_of_head,
        end_of_line,
        field_items,
        request_line,
        start_of_head,
    )
