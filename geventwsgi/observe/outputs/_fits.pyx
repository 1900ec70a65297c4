"""The compiled form of :func:`geventwsgi.observe.outputs.escape.fits`: one pass over the characters, not four."""


cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

cdef unsigned char PLAIN[128]
for _code in range(128):
    PLAIN[_code] = 0x20 <= _code < 0x7F and _code != 0x22 and _code != 0x5C


cpdef bint fits(str line, Py_ssize_t quotes=0, Py_ssize_t backslashes=0):
    """Return whether a line is printable ASCII with so many quotes and backslashes."""
    cdef const unsigned char *at
    cdef const unsigned char *end
    if line is None:
        raise TypeError("a line is no str")
    if not PyUnicode_IS_ASCII(line):
        return False
    at = <const unsigned char *>PyUnicode_DATA(line)
    end = at + PyUnicode_GET_LENGTH(line)
    while at < end:
        if not PLAIN[at[0]]:
            if at[0] == b'"':
                quotes -= 1
            elif at[0] == b"\\":
                backslashes -= 1
            else:
                return False
        at += 1
    return quotes == 0 and backslashes == 0
