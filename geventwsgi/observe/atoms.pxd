cdef class CommonLogTime:
    cdef tuple _cached

    cpdef str now(self)
