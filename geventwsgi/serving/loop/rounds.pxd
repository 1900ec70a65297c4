cdef class Round:
    cdef public bint open

    cpdef begin(self)
    cpdef end(self)
