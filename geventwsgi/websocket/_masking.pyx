"""What ``masking.py`` does, word by word. No byte is read or written before its bound is checked."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy


cpdef bytes unmask(bytes data, Py_ssize_t start, Py_ssize_t count, bytes key):
    """See :func:`geventwsgi.websocket.masking.unmask`."""
    cdef Py_ssize_t size = len(data)  # which raises for None
    if start < 0 or not 0 <= count <= size - start or len(key) != 4:
        raise ValueError(f"{count} bytes of {size}, from {start} on, and a key of {len(key)}")
    cdef bytes made = PyBytes_FromStringAndSize(NULL, count)
    cdef const char *source = PyBytes_AS_STRING(data) + start
    cdef char *target = PyBytes_AS_STRING(made)
    cdef const char *keys = PyBytes_AS_STRING(key)
    cdef uint32_t half
    cdef uint64_t both, word
    cdef Py_ssize_t at = 0
    memcpy(&half, keys, 4)
    both = half | <uint64_t>half << 32  # the key twice, in either order of bytes
    while at + 8 <= count:
        memcpy(&word, source + at, 8)  # which need not be aligned
        word ^= both
        memcpy(target + at, &word, 8)
        at += 8
    while at < count:
        target[at] = source[at] ^ keys[at & 3]
        at += 1
    return made
