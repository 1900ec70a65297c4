"""Bytes without end that cost nothing to make, with a hash that shows a lost, doubled or moved block."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 1 << 16
_NOISE = random.Random(2).randbytes(2 * BLOCK)


def blocks(size: int, block: int = BLOCK) -> Iterator[bytes]:
    """Yield ``size`` bytes in blocks, each cut from the same noise at another place, so that their order matters."""
    offset = 0
    while size:
        length = min(block, size)
        yield _NOISE[offset : offset + length]
        offset = (offset + 4099) % BLOCK  # a prime: all offsets come before one comes again
        size -= length


def digest(size: int) -> str:
    """Return the hash of all :func:`blocks`."""
    state = hashlib.sha256()
    for block in blocks(size):
        state.update(block)
    return state.hexdigest()
