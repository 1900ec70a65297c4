"""``wsgi.file_wrapper`` (PEP 3333, "Optional Platform-Specific File Handling"), and which files the kernel may send.

It only examines files. The gateway and the exchange send them.
"""

from __future__ import annotations

import io
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_SIZE = 65536
#: Bytes of the largest page of memory that a system uses.
PAGE = 65536


class _Fixed(type):
    """A class whose attributes cannot be set: all requests share it, and one would find what another has set."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise AttributeError(f"{cls.__name__} is every request's and takes no {name}: derive a class from it")


class FileWrapper(metaclass=_Fixed):
    """An iterable over a file-like object's blocks. If the application returns it as it is, ``sendfile`` may be used.

    :param filelike: has ``read(size)``, and ``close()`` if it is to be closed with the response.
    :param block_size: bytes in one read, if the file has to be read.
    """

    def __init__(self, filelike: Any, block_size: int = BLOCK_SIZE) -> None:
        self.filelike = filelike
        self.block_size = block_size

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block: bytes = self.filelike.read(self.block_size)
        if block:
            return block
        raise StopIteration

    def blocks(self, length: int) -> Iterator[bytes]:
        """Yield at most ``length`` bytes: PEP 3333 ends a file's transmission at its Content-Length."""
        while length > 0:
            block: bytes = self.filelike.read(min(self.block_size, length))
            if not block:
                return
            yield block
            length -= len(block)

    def close(self) -> None:
        """Close the file-like object, if it can be closed."""
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()


def regular_extent(filelike: Any) -> tuple[int, int, int] | None:
    """Return what is left to send of a regular file opened in binary mode, None for anything else.

    That is its descriptor, its position, and the number of bytes from there to its end.
    """
    file = _opened_file(filelike)
    if file is None or file.closed:
        return None
    fileno = file.fileno()
    size = regular_size(fileno)
    if size is None:
        return None
    offset = file.tell()
    return fileno, offset, max(0, size - offset)


def regular_size(fileno: int) -> int | None:
    """Return how many bytes a regular file has, None for anything else.

    A small file that occupies no blocks may be generated while it is read. Its size is wrong then (0 in procfs, a page
    in sysfs), so it has to be read.

    :raises OSError: ``os.fstat`` fails.
    """
    status = os.fstat(fileno)
    made = getattr(status, "st_blocks", 1) == 0 and status.st_size <= PAGE
    return status.st_size if stat.S_ISREG(status.st_mode) and not made else None


def _opened_file(filelike: Any) -> Any:
    """Return the file made by ``open(path, "rb")`` whose own ``read`` is the file-like object's ``read``.

    A ``fileno()`` alone proves nothing: a ``GzipFile`` has one, but reads other bytes than the file has. Wrappers whose
    ``read`` is the method of the file itself (tempfile's, Django's) are fine.
    """
    read = getattr(filelike, "read", None)
    file: Any = getattr(getattr(read, "__wrapped__", read), "__self__", None)
    raw = file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else file
    return file if type(raw) is io.FileIO else None


with suppress(ImportError):  # not built, or not wanted
    from geventwsgi.wsgi._files import regular_size  # type: ignore[no-redef]  # the twin in C
