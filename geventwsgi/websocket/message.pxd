cdef class Message:
    cdef list _parts
    cdef list _joined

    cpdef add(self, part)
    cpdef take(self, last)
