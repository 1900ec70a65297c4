cimport cython

cdef double GRANULARITY

cdef class Holder:
    cdef public double deadline
    cdef public long tick

    cpdef expire(self)

cdef class Deadlines:
    cdef public object loop
    cdef public dict _buckets

    @cython.locals(deadline=double, tick=long)
    cpdef arm(self, Holder holder, double seconds)
    cpdef forget(self, Holder holder)
    cpdef _enter(self, Holder holder, long tick)
