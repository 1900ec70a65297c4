from geventwsgi cimport _clock as clock
from geventwsgi.serving cimport sending as sendings

cimport cython

cdef double BRIEF, LONG, REST

cdef class Outbox:
    cdef object __weakref__
    cdef public bint open
    cdef list _kept
    cdef double _since
    cdef double _late
    cdef double _closed_until

    cpdef begin(self)
    @cython.locals(now=double)
    cpdef keep(self, sendings.Sending sending)
    cpdef end(self)
    @cython.locals(sending=sendings.Sending)
    cpdef _empty(self, double now)
