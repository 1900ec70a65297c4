from geventwsgi cimport _clock as clock
from geventwsgi.flag cimport flag
from geventwsgi.serving.accept.connection cimport Connection as CConnection
from geventwsgi.serving.http1 cimport http1_parked
from geventwsgi.serving.request cimport live_exchange
from geventwsgi.serving.wire.stream cimport Stream as CStream
from geventwsgi.wsgi.held cimport Call as CCall, Upgrade as CUpgrade

cimport cython

cdef Py_ssize_t _TURN, _PIECE, _NONE_WAIT
cdef double _NEVER

cdef class Http1Upgraded(http1_parked.Http1Parked):
    cdef CUpgrade _upgrade
    cdef object _pings
    cdef list _kept
    cdef object _room
    cdef object _turns
    cdef Py_ssize_t _kept_size
    cdef double _ends
    cdef double _since
    cdef public unsigned int received
    cdef int _owed
    cdef int _size
    cdef flag _working
    cdef flag _stuck
    cdef flag _between
    cdef flag _draining

    cpdef begin(self, CConnection connection, live_exchange.LiveExchange former, CCall call, CUpgrade upgrade)
    @cython.locals(connection=CConnection, upgrade=CUpgrade, stream=CStream)
    cpdef go_on(self)
    cpdef _give(self)
    @cython.locals(upgrade=CUpgrade, stream=CStream, called=bint)
    cpdef bint resume(self) except -1
    cpdef _broke(self, error)
    @cython.locals(upgrade=CUpgrade, late=bint)
    cpdef bint _is_over(self) except -1
    cdef bint _waits_to_end(self) except -1
    @cython.locals(stream=CStream)
    cpdef bint _receive(self) except -1
    cpdef _park(self)
    cpdef _tell_of_room(self)
    @cython.locals(left=Py_ssize_t, upgrade=CUpgrade, data=bytes)
    cpdef _advance(self)
    cpdef _end_for_good(self)
