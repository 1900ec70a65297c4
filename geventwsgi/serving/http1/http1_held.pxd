from geventwsgi cimport _clock as clock
from geventwsgi.flag cimport flag
from geventwsgi.http cimport encode
from geventwsgi.serving.http1 cimport http1_parked
from geventwsgi.serving.request.lane cimport Lane as CLane
from geventwsgi.serving.wire.stream cimport Stream as CStream
from geventwsgi.wsgi.held cimport Held as CHeld, Piece as CPiece

cimport cython

cdef Py_ssize_t _TURN, _PIECE, _NONE_WAIT

cdef class Http1Held(http1_parked.Http1Parked):
    cdef object _source
    cdef object _context
    cdef CLane _lane
    cdef tuple _trailers
    cdef double _heartbeat
    cdef double _silent_until
    cdef flag _chunked
    cdef flag _finishing
    cdef flag _keep_alive

    @cython.locals(stream=CStream)
    cpdef go_on(self)
    cpdef _park(self)
    @cython.locals(held=object, source=CHeld, left=Py_ssize_t, piece=CPiece)
    cpdef _advance(self)
    @cython.locals(data=bytes, size=Py_ssize_t)
    cpdef bint _send(self, CPiece piece) except -1
    @cython.locals(now=double)
    cpdef woken(self)
    cpdef _conclude(self, error)
