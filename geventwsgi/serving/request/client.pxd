cdef class Client:
    cdef object _lane

    cpdef begin(self, lane)
