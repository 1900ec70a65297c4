from geventwsgi.flag cimport flag

cdef class Round:
    cdef public flag open

    cpdef begin(self)
    cpdef end(self)
