cdef class Due:
    cpdef wake(self)
    cpdef advance(self)
