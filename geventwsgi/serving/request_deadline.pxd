from geventwsgi.serving cimport deadlines

cdef class RequestDeadline(deadlines.Holder):
    cdef object _connection
    cdef object _exchange
    cdef double _until

    cpdef expire(self)
