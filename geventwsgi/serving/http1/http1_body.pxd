from geventwsgi.http.body cimport Body as CBody
from geventwsgi.observe.tally cimport Tally as CTally
from geventwsgi.serving.accept.service cimport Service as CService
from geventwsgi.serving.wire.stream cimport Stream as CStream

cimport cython

cdef Py_ssize_t BODY_RECV

cdef class ArrivingBody:
    cdef CStream _stream
    cdef CService _service
    cdef CTally _tally
    cdef readonly CBody decoder
    cdef readonly long long received
    cdef double _credit

    @cython.locals(stream=CStream, decoder=CBody, data=bytes, piece=bytes, rest=bytes)
    cpdef bytes receive(self, Py_ssize_t size, double timeout)
    @cython.locals(service=CService, stream=CStream, data=bytes, before=double)
    cpdef bytes _receive_paced(self, Py_ssize_t size, double longest)
