cimport cython

from geventwsgi cimport _clock as clock
from geventwsgi.http.head cimport RequestHead as CRequestHead

cpdef choose_framing(CRequestHead request, int status, length)
cpdef bytes chunk_size(Py_ssize_t size)

cdef class DateCache:
    cdef long _second
    cdef str _text

    @cython.locals(second=long)
    cpdef str now(self)

cdef class EncodedHead:
    cdef object headers
    cdef object status
    cdef object date
    cdef object framing
    cdef object length
    cdef object connection
    cdef bytes data

cdef class LastHead:
    cdef DateCache _dates
    cdef EncodedHead _head

    @cython.locals(head=EncodedHead)
    cpdef bytes encode(self, status, headers, framing, length, connection, str server)
