cimport cython

from geventwsgi.flag cimport flag
from geventwsgi.http cimport _scan as scan, fields as blocks
from geventwsgi.http.limits cimport Limits as CLimits
from geventwsgi.http.fields cimport Fields as CFields
from geventwsgi.http.known cimport KnownBlocks as CKnownBlocks

cdef class RequestHead:
    cdef public str method
    cdef public str target
    cdef public tuple version
    cdef public str authority
    cdef public str path
    cdef public str query
    cdef public CFields fields
    cdef public Py_ssize_t size
    cdef public int minor
    cdef public flag keep_alive
    cdef public flag head_only
    cdef public flag tunnel

    cpdef begin(
        self, str method, str target, tuple version, object authority, str path, str query, CFields fields, Py_ssize_t size
    )

@cython.locals(start=Py_ssize_t, end=Py_ssize_t, line_end=Py_ssize_t, raw_start=Py_ssize_t, fields=CFields, head=RequestHead)
cpdef RequestHead parse_head(
    bytes buffer, CLimits limits, CFields last=*, Py_ssize_t scanned=*, object leniency=*, CKnownBlocks known=*
)
