cimport cython

from geventwsgi.http cimport _scan as scan
from geventwsgi.http.limits cimport Limits as CLimits
from geventwsgi.http.fields cimport Fields as CFields
from geventwsgi.http.known cimport KnownBlocks as CKnownBlocks

cdef class RequestHead:
    cdef public str method
    cdef public str target
    cdef public tuple version
    cdef public int minor
    cdef public str authority
    cdef public str path
    cdef public str query
    cdef public CFields fields
    cdef public Py_ssize_t size
    cdef public bint keep_alive
    cdef public bint head_only
    cdef public bint tunnel

@cython.locals(start=Py_ssize_t, end=Py_ssize_t, line_end=Py_ssize_t, raw_start=Py_ssize_t, fields=CFields)
cpdef RequestHead parse_head(
    bytes buffer, CLimits limits, CFields last=*, Py_ssize_t scanned=*, object leniency=*, CKnownBlocks known=*
)
