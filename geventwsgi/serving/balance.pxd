from geventwsgi.serving.capacity cimport Capacity as CCapacity

cimport cython

cdef class Balance:
    cdef object _counts
    cdef public CCapacity _capacity
    cdef double _patience
    cdef double _since
    cdef double _last

    cpdef tell(self)
    @cython.locals(least=long)
    cpdef bint defers(self)
