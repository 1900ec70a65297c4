cimport cython

from geventwsgi.flag cimport flag
from geventwsgi.http cimport _scan as scan
from geventwsgi.http.limits cimport Limits as CLimits
cdef class Fields:
    cdef public bytes raw
    cdef public tuple items
    cdef public object content_length
    cdef public frozenset connection
    cdef public str host
    cdef public dict cgi
    cdef public str scheme
    cdef public tuple changes
    cdef public Fields former
    cdef public dict cgi_trusted
    cdef public double here_until
    cdef public flag chunked
    cdef public flag persists
    cdef public flag expect_continue
    cdef public flag upgrade
    cdef public flag plain
    cdef public flag known
    cdef public flag takes_trailers
    cdef public flag stamped

    cpdef lead_here(self, double until)

@cython.locals(found=tuple, items=tuple, changes=tuple)
cpdef Fields changed_fields(Fields last, bytes raw, CLimits limits)
@cython.locals(fields=Fields)
cpdef Fields _with_changes(Fields last, bytes raw, tuple items, tuple changes)
