"""The compiled form of :func:`geventwsgi.observe.escape.fits`: one pass over the characters, not four."""


cpdef bint fits(str line, Py_ssize_t quotes=0, Py_ssize_t backslashes=0):
    """Return whether a line is printable ASCII with so many quotes and backslashes."""
    cdef Py_UCS4 character
    for character in line:
        if character < 0x20 or character > 0x7E:
            return False
        if character == 0x22:
            quotes -= 1
        elif character == 0x5C:
            backslashes -= 1
    return quotes == 0 and backslashes == 0
