from geventwsgi.serving.accept cimport capacity
from geventwsgi.serving.accept.service cimport Service as CService
from geventwsgi.serving.wire.stream cimport Stream as CStream

cdef class Leaver(capacity.Guest):
    cdef public CService service
    cdef public CStream stream
    cdef public bint taken

    cpdef forget(self)
    cpdef end(self)
