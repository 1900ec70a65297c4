from geventwsgi.serving.accept.connection cimport Connection as CConnection
from geventwsgi.serving.request cimport live_exchange
from geventwsgi.serving.wire.stream cimport Stream as CStream
from geventwsgi.wsgi.held cimport Call as CCall

cimport cython

cdef Py_ssize_t _NONE_WAIT

cdef class Http1Parked(live_exchange.LiveExchange):
    cdef CConnection _connection
    cdef CCall _call
    cdef object _error
    cdef Py_ssize_t _waits

    cpdef pack(self)
    cpdef leave(self)
    cpdef come_after(self, CConnection connection, live_exchange.LiveExchange former, CCall call)
    cpdef succeed(self, live_exchange.LiveExchange former)
    cpdef go_on(self)
    cpdef woken(self)
    cpdef bint resume(self) except -1
    cpdef bint settle(self) except -1
    cpdef kill(self)
    cpdef _advance(self)
    cpdef _fail(self, error)
    cpdef _lose(self, error)
    cpdef _has_room(self)
    cpdef bint _offer(self, bytes data, Py_ssize_t size) except -1
    @cython.locals(size=Py_ssize_t)
    cpdef settled(self, error)
    @cython.locals(call=CCall)
    cpdef conclude(self)
