from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.serving cimport capacity, http1
from geventwsgi.serving.lane cimport Lane as CLane
from geventwsgi.serving.service cimport Service as CService
from geventwsgi.serving.stream cimport Stream as CStream
from geventwsgi.wsgi.repeated cimport Repeated as CRepeated

cimport cython

cdef class Connection(capacity.Guest):
    cdef public CService service
    cdef public int remote_port
    cdef public bint trusted
    cdef public CStream stream
    cdef public CRequestHead last_head
    cdef public bytes last_data
    cdef public object exchange
    cdef public CRepeated repeated
    cdef public CLane lane
    cdef public bint introduced
    cdef public double idle_limit
    cdef public bint cold
    cdef public bint answered
    cdef public bint unread
    cdef public bint taken
    cdef public bint lingering

    cpdef start(self)
    cpdef _park(self)
    cpdef _go_on(self, left)
    cpdef linger(self)
    @cython.locals(lane=CLane)
    cpdef forget(self)
    cpdef end(self)
    cpdef close(self)
