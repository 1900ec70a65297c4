cimport cython

from geventwsgi cimport _clock as clock

cdef double GRANULARITY, LONGEST

cdef class Holder:
    cdef public double deadline
    cdef public double tick

    cpdef expire(self)

cdef class Deadlines:
    cdef public object loop
    cdef public object hub
    cdef public dict _buckets

    @cython.locals(deadline=double, tick=double)
    cpdef arm(self, Holder holder, double seconds)
    cpdef forget(self, Holder holder)
    cpdef _enter(self, Holder holder, double tick)
    @cython.locals(now=double)
    cpdef _due(self, double tick, timer)
