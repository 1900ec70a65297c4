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

cpdef RequestHead parse_head(
    bytes buffer, object limits, CFields last=*, Py_ssize_t scanned=*, object leniency=*, CKnownBlocks known=*
)
