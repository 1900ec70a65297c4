from geventwsgi.serving.request cimport lane as lanes

cdef class RequestDeadline(lanes.Clock):
    cdef object _lane

    cpdef expire(self)

cdef class Deadline:
    cdef object _lane

    cpdef begin(self, lane)
