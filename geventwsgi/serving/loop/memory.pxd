cdef class Trimmer:
    cdef object _loop
    cdef long _count
    cdef public object _timer

    cpdef count(self)
