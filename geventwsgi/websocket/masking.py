"""Frames as bytes: the mask of a client's (RFC 6455 section 5.3), and a server's, which have none.

Each function exists twice: here in Python, the mask by one operation on two long integers, and in ``_masking.pyx``.
"""

from __future__ import annotations

import struct
from contextlib import suppress

__all__ = ["unmask", "unmasked_frame"]


def unmask(data: bytes, start: int, count: int, key: bytes) -> bytes:
    """Return ``count`` bytes of ``data`` from ``start`` on, combined with the repeated key.

    :param key: 4 bytes, the first of which belongs to the byte at ``start``.
    :raises ValueError: the range is not within ``data``, or the key has another length.
    """
    if start < 0 or not 0 <= count <= len(data) - start or len(key) != 4:
        raise ValueError(f"{count} bytes of {len(data)}, from {start} on, and a key of {len(key)}")
    keys = (key * (count // 4 + 1))[:count]
    masked = int.from_bytes(data[start : start + count], "little")
    return (masked ^ int.from_bytes(keys, "little")).to_bytes(count, "little")


def unmasked_frame(first: int, payload: bytes) -> bytes:
    """Return a server's frame (section 5.2).

    :param first: its first byte.
    """
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.websocket._masking import unmask, unmasked_frame  # type: ignore[no-redef]  # the twins in C
