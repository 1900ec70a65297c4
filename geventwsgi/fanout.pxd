from geventwsgi cimport _clock as clock
from geventwsgi.due cimport Due as CDue
from geventwsgi.flag cimport flag

cimport cython

cdef class Fanout:
    cdef object __weakref__
    cdef object _hub
    cdef list _due
    cdef list _added
    cdef object _timer
    cdef double _until
    cdef double _seconds
    cdef flag _called

    cpdef add(self, CDue due)
    cpdef spend(self, double seconds)
    @cython.locals(left=int, due=CDue)
    cpdef _run(self)
