cdef class Sink:
    cdef public object losses
    cdef object _later
    cdef public list lines
    cdef public bytes unwritten

    cpdef gather(self, line)
