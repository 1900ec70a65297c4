"""The mask of a client's frames (RFC 6455 section 5.3).

The function exists twice: here in Python by one operation on two long integers, and in ``_masking.pyx`` word by word.
"""

from __future__ import annotations

from contextlib import suppress

__all__ = ["unmask"]


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


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.websocket._masking import unmask  # type: ignore[no-redef]  # the twin in C
