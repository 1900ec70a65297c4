cimport cython

from geventwsgi.http cimport _scan as scan
from geventwsgi.http.limits cimport Limits as CLimits
cdef class Fields:
    cdef public bytes raw
    cdef public tuple items
    cdef public object content_length
    cdef public bint chunked
    cdef public frozenset connection
    cdef public bint persists
    cdef public bint expect_continue
    cdef public str host
    cdef public bint upgrade
    cdef public dict cgi
    cdef public str scheme
    cdef public bint plain
    cdef public tuple changes
    cdef public Fields former
    cdef public bint known
    cdef public bint takes_trailers
    cdef public dict cgi_trusted

@cython.locals(found=tuple, items=tuple, changes=tuple)
cpdef Fields changed_fields(Fields last, bytes raw, CLimits limits)
cpdef Fields _with_changes(Fields last, bytes raw, tuple items, tuple changes)
