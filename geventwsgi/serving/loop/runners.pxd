from geventwsgi.flag cimport flag
from geventwsgi.serving.loop cimport _marks as marks
from geventwsgi.serving.loop cimport _switching as switching
from geventwsgi.serving.loop._queues cimport Queue as CQueue
from geventwsgi.serving.loop.rounds cimport Round as CRound

cdef class Sleeper:
    cdef public object greenlet

    cpdef wake(self, bint timed_out)
    cpdef run(self)

cdef class Runners:
    cdef object _kind
    cdef object _hub
    cdef CRound _around
    cdef CQueue _ready
    cdef set _noted
    cdef dict _threads
    cdef CQueue _idle
    cdef Py_ssize_t _least_idle
    cdef object _thinning
    cdef object _working
    cdef flag _once
    cdef flag _called
    cdef flag _forsaken

    cpdef _end(self, object me)
    cpdef _renewed(self, object me, object ident, object thread)
    cpdef bint _bears(self, object me, object ident, Py_ssize_t weak, object thread) except -1
    cpdef _leave(self, object me, object ident)
    cpdef bint _rest(self, object me) except -1
    cpdef give(self, Sleeper sleeper)
    cpdef give_again(self, Sleeper sleeper)

cdef class OneEach(Runners):
    cdef object _spawn
