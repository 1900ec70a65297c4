from geventwsgi.serving cimport deadlines

cdef class RequestDeadline(deadlines.Holder):
    cdef object _connection

    cpdef expire(self)

cdef class Deadline:
    cdef object _lane
