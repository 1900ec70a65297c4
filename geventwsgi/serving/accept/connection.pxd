from geventwsgi.serving.accept cimport linger
from geventwsgi.serving.accept.entrance cimport Entrance as CEntrance
from geventwsgi.serving.accept.service cimport Service as CService

cimport cython

cdef class Connection(linger.Leaver):
    cdef public int remote_port
    cdef public bint trusted
    cdef public bint introduced
    cdef public double idle_limit
    cdef public bint cold
    cdef public bint answered
    cdef public bint unread

    @cython.locals(entrance=CEntrance)
    cpdef begin(self, CService service, sock, address)
    cpdef start(self)
    cpdef _park(self)
    cpdef _go_on(self, left)
    cpdef linger(self)

cdef class Speaker:
    cdef public CService service

    cpdef Connection open(self, sock, address)
