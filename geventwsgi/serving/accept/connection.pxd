from geventwsgi.flag cimport flag
from geventwsgi.serving.accept cimport linger
from geventwsgi.serving.accept.entrance cimport Entrance as CEntrance
from geventwsgi.serving.accept.service cimport Service as CService

cimport cython

cdef class Connection(linger.Leaver):
    cdef public double idle_limit
    cdef public tuple home
    cdef public int remote_port
    cdef public flag trusted
    cdef public flag introduced
    cdef public flag moved
    cdef public flag cold
    cdef public flag answered
    cdef public flag unread
    cdef public flag last

    @cython.locals(entrance=CEntrance)
    cpdef begin(self, CService service, sock, address)
    cpdef start(self)
    cpdef bint stays(self) except -1
    cpdef _park(self)
    cpdef _go_on(self, left)
    cpdef linger(self, bint taken=*)

cdef class Speaker:
    cdef public CService service

    cpdef Connection open(self, sock, address)
