from geventwsgi cimport _clock as clock
from geventwsgi.flag cimport flag
from geventwsgi.http cimport encode
from geventwsgi.serving.accept.connection cimport Connection as CConnection
from geventwsgi.serving.request cimport live_exchange
from geventwsgi.serving.wire.stream cimport Stream as CStream
from geventwsgi.wsgi.held cimport Call as CCall, Piece as CPiece

cimport cython

cdef Py_ssize_t TURN, PIECE, NONE_WAITS

cdef class Http1Held(live_exchange.LiveExchange):
    cdef CConnection _connection
    cdef CCall _call
    cdef object _source
    cdef object _context
    cdef object _error
    cdef double _heartbeat
    cdef double _silent_until
    cdef Py_ssize_t _waits
    cdef flag _chunked
    cdef flag _finishing
    cdef flag _keep_alive

    @cython.locals(stream=CStream)
    cpdef go_on(self)
    cpdef _park(self)
    cpdef wake(self)
    cpdef advance(self)
    @cython.locals(left=Py_ssize_t, piece=CPiece)
    cpdef _advance(self)
    @cython.locals(data=bytes, size=Py_ssize_t, stream=CStream)
    cpdef bint _send(self, CPiece piece) except -1
    @cython.locals(size=Py_ssize_t)
    cpdef settled(self, error)
    @cython.locals(now=double)
    cpdef woken(self)
    cpdef _conclude(self, error)
