"""What ``scan.py`` does, byte by byte. No byte is read before its bound is checked, whatever the caller says of bounds.

``len()`` raises for None, which a C function takes for bytes; the macros of Python.h would not.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.string cimport memchr, memcmp

from geventwsgi.http import grammar

cdef extern from "Python.h":
    int PyUnicode_KIND(object text)
    int PyUnicode_1BYTE_KIND
    void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

ctypedef const unsigned char *Bytes

cdef unsigned char NAME[256]
cdef unsigned char VALUE[256]
cdef unsigned char METHOD[256]
cdef unsigned char TARGET[256]

cdef enum:
    SHORTEST_METHOD = 3
    LONGEST_METHOD = 20
    VERSION = 9   # bytes of " HTTP/1.x"


cdef fill():
    """Take the sets of characters from the grammar."""
    every = bytes(range(256)).decode("latin-1")
    mark(NAME, grammar.FIELD_NAME.findall(every))
    mark(VALUE, grammar.FIELD_VALUE.findall(every))
    mark(METHOD, [char for char in every if grammar.CONVENTIONAL_METHOD.fullmatch(char * SHORTEST_METHOD)])
    mark(TARGET, grammar.REQUEST_TARGET.findall(every))


cdef mark(unsigned char *table, list runs):
    """Mark characters, none of them above U+00FF."""
    cdef Py_UCS4 char
    for run in runs:
        for char in <str>run:
            table[char] = True


fill()
cdef dict METHODS = {method: method for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")}


cdef inline str text(Bytes start, Bytes end):
    return PyUnicode_DecodeLatin1(<const char *>start, end - start, NULL)


cdef inline str stripped(Bytes start, Bytes end):
    """Return a value without the whitespace around it."""
    while start < end and (start[0] == b" " or start[0] == b"\t"):
        start += 1
    while start < end and (end[-1] == b" " or end[-1] == b"\t"):
        end -= 1
    return text(start, end)


cdef inline Bytes line_end(Bytes start, Bytes end):
    """Return where a line's CR stands, NULL if no CRLF ends it at its first LF."""
    cdef Bytes found = <Bytes>memchr(start, b"\n", end - start) if start < end else NULL
    if found == NULL or found == start or found[-1] != b"\r":
        return NULL
    return found - 1


cdef inline bint all_values(Bytes start, Bytes end):
    while start < end:
        if not VALUE[start[0]]:
            return False
        start += 1
    return True


cpdef Py_ssize_t start_of_head(bytes buffer) except -1:
    """See :func:`geventwsgi.http.scan.start_of_head`."""
    return 2 if len(buffer) >= 2 and not memcmp(PyBytes_AS_STRING(buffer), b"\r\n", 2) else 0


cpdef Py_ssize_t end_of_line(bytes buffer, Py_ssize_t start) except -2:
    """See :func:`geventwsgi.http.scan.end_of_line`."""
    cdef Py_ssize_t size = len(buffer)
    cdef Bytes first = <Bytes>PyBytes_AS_STRING(buffer), at, end = first + size
    if not 0 <= start <= size:
        return -1
    at = first + start
    while at < end:
        at = <Bytes>memchr(at, b"\r", end - at)
        if at == NULL or at + 1 >= end:
            return -1
        if at[1] == b"\n":
            return at - first
        at += 1
    return -1


cpdef Py_ssize_t end_of_head(bytes buffer, Py_ssize_t start) except -2:
    """See :func:`geventwsgi.http.scan.end_of_head`."""
    # From LF to LF, of which there are few: a search for all four bytes takes several times as long.
    cdef Py_ssize_t size = len(buffer)
    cdef Bytes first = <Bytes>PyBytes_AS_STRING(buffer), begin, at, end = first + size
    if not 0 <= start <= size:
        return -1
    begin = at = first + start
    while at < end:
        at = <Bytes>memchr(at, b"\n", end - at)
        if at == NULL or end - at < 3:
            return -1
        if at > begin and at[-1] == b"\r" and at[1] == b"\r" and at[2] == b"\n":
            return at - 1 - first
        at += 1
    return -1


cpdef request_line(bytes buffer, Py_ssize_t start, Py_ssize_t end):
    """See :func:`geventwsgi.http.scan.request_line`."""
    cdef Bytes first, at, last
    if not 0 <= start <= end <= len(buffer) or end - start <= VERSION:
        return None
    first = at = <Bytes>PyBytes_AS_STRING(buffer) + start
    last = first + (end - start) - VERSION
    if memcmp(last, b" HTTP/1.", VERSION - 1) or not (last[8] == b"0" or last[8] == b"1"):
        return None
    while at < last and METHOD[at[0]]:
        at += 1
    if at - first < SHORTEST_METHOD or at - first > LONGEST_METHOD or at == last or at[0] != b" ":
        return None
    cdef str method = text(first, at)
    at += 1
    first = at
    while at < last and TARGET[at[0]]:
        at += 1
    if at < last or at == first:
        return None
    return METHODS.get(method, method), text(first, last), "1" if last[8] == b"1" else "0"


cpdef list field_items(bytes block):
    """See :func:`geventwsgi.http.scan.field_items`."""
    cdef Py_ssize_t size = len(block)
    cdef Bytes at = <Bytes>PyBytes_AS_STRING(block), colon, cr
    cdef Bytes end = at + size
    cdef list items = []
    while at < end:
        cr = line_end(at, end)
        if cr == NULL:
            return None
        colon = at
        while colon < cr and NAME[colon[0]]:
            colon += 1
        if colon == at or colon == cr or colon[0] != b":" or not all_values(colon + 1, cr):
            return None
        items.append((text(at, colon), stripped(colon + 1, cr)))
        at = cr + 2
    return items


cpdef tuple changed_items(bytes former, bytes raw, tuple items):
    """See :func:`geventwsgi.http.scan.changed_items`."""
    cdef Py_ssize_t old_size = len(former), new_size = len(raw)
    cdef Bytes old = <Bytes>PyBytes_AS_STRING(former), new = <Bytes>PyBytes_AS_STRING(raw), old_cr, new_cr
    cdef Bytes old_end = old + old_size, new_end = new + new_size
    cdef Py_ssize_t index = -1, count = len(items), size
    cdef tuple now = PyTuple_New(count), item
    cdef list changed = []
    while index < count:
        old_cr, new_cr = line_end(old, old_end), line_end(new, new_end)
        if old_cr == NULL or new_cr == NULL:
            return None
        item = <tuple?>items[index] if index >= 0 else None
        if old_cr - old != new_cr - new or memcmp(old, new, old_cr - old):
            if item is None:
                return None
            name = <str?>item[0]
            size = PyUnicode_GET_LENGTH(name)
            if (
                PyUnicode_KIND(name) != PyUnicode_1BYTE_KIND or new_cr - new <= size or new[size] != b":"
                or memcmp(new, PyUnicode_DATA(name), size) or not all_values(new + size + 1, new_cr)
            ):
                return None
            item = (name, stripped(new + size + 1, new_cr))
            changed.append(item)
        if item is not None:
            Py_INCREF(item)
            PyTuple_SET_ITEM(now, index, item)
        old, new = old_cr + 2, new_cr + 2
        index += 1
    return (now, tuple(changed)) if old == old_end and new == new_end else None
