cimport cython

from geventwsgi cimport _clock as clock

cdef class CommonLogTime:
    cdef tuple _cached

    cpdef str now(self)
    @cython.locals(cached=long, text=str)
    cpdef str at(self, long second)
