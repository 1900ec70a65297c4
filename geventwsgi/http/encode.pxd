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

cdef class LastHead:
    cdef DateCache _dates
    cdef object _headers
    cdef object _status
    cdef str _date
    cdef object _framing
    cdef object _length
    cdef object _connection
    cdef bytes _data

    cpdef bytes encode(self, status, headers, framing, length, connection, str server)
