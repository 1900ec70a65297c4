from geventwsgi.flag cimport flag
from geventwsgi.http.limits cimport Limits as CLimits

cdef class Body:
    cdef public flag done

    cpdef tuple decode(self, bytes data)
    cpdef long long want(self, long long size) except? -1

cdef class LengthBody(Body):
    cdef public long long left

cdef class ChunkedBody(Body):
    cdef CLimits _limits
    cdef list _trailers
    cdef object _left
    cdef bytes _framing
    cdef Py_ssize_t _scanned
    cdef object _size
    cdef object _excess

    cpdef Py_ssize_t _step(self, bytes data, Py_ssize_t position, list pieces) except? -1
    cpdef Py_ssize_t _size_line(self, bytes data, Py_ssize_t position, list pieces) except? -1
    cpdef Py_ssize_t _end_of_chunk(self, bytes data, Py_ssize_t position) except? -1
    cpdef Py_ssize_t _end_of_body(self, bytes data, Py_ssize_t position) except? -1
