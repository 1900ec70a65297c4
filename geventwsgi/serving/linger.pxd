from geventwsgi.serving cimport capacity
from geventwsgi.serving.service cimport Service as CService
from geventwsgi.serving.stream cimport Stream as CStream

cdef class Leaver(capacity.Guest):
    cdef public CService service
    cdef public CStream stream
    cdef public bint taken

    cpdef forget(self)
    cpdef end(self)
