cimport cython

cdef class Balance

cdef class Load:
    cdef public Balance balance

    cpdef int in_flight(self) except -1
    cpdef int open(self) except -1

cdef class Balance:
    cdef object _counts
    cdef public Load _load
    cdef double _patience
    cdef double _since
    cdef double _last

    cpdef tell(self)
    @cython.locals(least=long)
    cpdef bint defers(self)
