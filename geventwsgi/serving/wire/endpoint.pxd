from geventwsgi.flag cimport flag
from geventwsgi.serving.loop cimport deadlines

cdef class Endpoint(deadlines.Holder):
    cdef public flag watched

    cpdef happened(self, unsigned int events)
    cpdef bint at_end(self) except -1
    cpdef hand_over(self)
    cpdef drop_kept(self)
