"""What ``masking.py`` does, in C. No byte is read or written before its bound is checked."""

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


cpdef bytes unmasked_frame(int first, bytes payload):
    """See :func:`geventwsgi.websocket.masking.unmasked_frame`."""
    cdef Py_ssize_t size = len(payload)  # which raises for None
    cdef int more = 0 if size < 126 else 2 if size < 1 << 16 else 8, place
    cdef bytes made = PyBytes_FromStringAndSize(NULL, 2 + more + size)
    cdef unsigned char *target = <unsigned char *>PyBytes_AS_STRING(made)
    if not 0 <= first < 256:
        raise ValueError(f"a byte of {first}")
    target[0] = first
    target[1] = size if not more else 126 if more == 2 else 127
    for place in range(more):
        target[2 + place] = size >> 8 * (more - 1 - place) & 0xFF
    memcpy(target + 2 + more, PyBytes_AS_STRING(payload), size)
    return made
