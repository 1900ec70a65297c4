from geventwsgi.flag cimport flag
from geventwsgi.serving.accept cimport capacity
from geventwsgi.serving.accept.service cimport Service as CService
from geventwsgi.serving.wire.stream cimport Stream as CStream

cdef class Leaver(capacity.Guest):
    cdef public CService service
    cdef public CStream stream
    cdef public flag taken

    cpdef forget(self)
    cpdef end(self)
