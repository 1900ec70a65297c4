from geventwsgi cimport _clock as clock
from geventwsgi.serving.accept.capacity cimport Capacity as CCapacity
from geventwsgi.serving.accept.connection cimport Connection as CConnection
from geventwsgi.serving.accept.connection cimport Speaker as CSpeaker

cimport cython

cdef class Acceptor:
    cdef object _loop
    cdef object _listener
    cdef CCapacity _capacity
    cdef object _log
    cdef object _pause
    cdef int _most
    cdef bint _proxied
    cdef object _failures
    cdef object _unwatchable
    cdef public CSpeaker speaker
    cdef list _begun

    @cython.locals(accepted=tuple)
    cpdef accept(self)
    @cython.locals(connection=CConnection)
    cpdef begin(self, sock, address)
    @cython.locals(begun=list, connection=CConnection)
    cpdef _watch(self)
    @cython.locals(capacity=CCapacity, accepted=tuple)
    cpdef take(self)
