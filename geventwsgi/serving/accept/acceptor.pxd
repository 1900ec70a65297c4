from geventwsgi cimport _clock as clock
from geventwsgi.flag cimport flag
from geventwsgi.serving.accept.capacity cimport Capacity as CCapacity
from geventwsgi.serving.accept.connection cimport Connection as CConnection
from geventwsgi.serving.accept.connection cimport Speaker as CSpeaker

cimport cython

cdef class Acceptor:
    cdef object _loop
    cdef object _listener
    cdef public CCapacity capacity
    cdef object _log
    cdef object _pause
    cdef object _failures
    cdef object _unwatchable
    cdef public CSpeaker speaker
    cdef list _begun
    cdef int _most
    cdef flag _proxied

    @cython.locals(accepted=tuple)
    cpdef accept(self)
    cpdef begin(self, sock, address)
    cpdef start(self, CConnection connection)
    @cython.locals(begun=list, connection=CConnection)
    cpdef _watch(self)
    @cython.locals(capacity=CCapacity, accepted=tuple)
    cpdef take(self)
