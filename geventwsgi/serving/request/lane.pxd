from geventwsgi.flag cimport flag
from geventwsgi.serving.loop cimport _references as marks
from geventwsgi.serving.loop cimport deadlines
from geventwsgi.serving.request.live_exchange cimport LiveExchange as CLiveExchange
from geventwsgi.serving.wire.stream cimport Stream as CStream

cimport cython

cdef class Lane

cdef class Policy:
    cdef public object deadlines
    cdef public object log
    cdef public flag cancels
    cdef public flag half_close_ends
    cdef public flag timed

cdef class Clock(deadlines.Holder):
    cpdef follow(self, Lane lane)

cdef class Lane:
    cdef public CStream transport
    cdef public Policy policy
    cdef public CLiveExchange exchange
    cdef public object greenlet
    cdef public Clock clock
    cdef public object inquiry
    cdef object _client
    cdef object _deadline
    cdef object _hints
    cdef object _hold
    cdef object _trailers
    cdef object _audience
    cdef int _known
    cdef public flag remote
    cdef public flag departed
    cdef public flag queued

    cpdef begin(self, CStream transport, Policy policy, bint remote)
    cpdef follow(self, Lane former)
    cpdef serve(self, CLiveExchange exchange, greenlet)
    cpdef rest(self)
    cpdef Py_ssize_t references(self) noexcept
    cpdef lend(self, dict environ)
    cpdef give(self)
    cdef Py_ssize_t _references(self) noexcept
    cpdef end(self)
    cpdef close(self)

@cython.locals(lane=Lane)
cdef Py_ssize_t _alone()
