cpdef choose_framing(str method, int minor, int status, length)
cpdef bytes chunk_size(Py_ssize_t size)

cdef class LastHead:
    cdef object _headers
    cdef object _status
    cdef object _date
    cdef object _framing
    cdef object _length
    cdef object _connection
    cdef bytes _data

    cpdef bytes encode(self, status, headers, framing, length, connection, str server)
