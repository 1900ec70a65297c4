from geventwsgi cimport _clock as clock
from geventwsgi.serving.loop cimport rounds
from geventwsgi.serving.loop._queues cimport Queue as CQueue
from geventwsgi.serving.wire.endpoint cimport Endpoint as CEndpoint

cimport cython

cdef double BRIEF, LONG, REST

cdef class Outbox(rounds.Round):
    cdef object __weakref__
    cdef CQueue _kept
    cdef double _since
    cdef double _late
    cdef double _closed_until

    @cython.locals(now=double)
    cpdef keep(self, CEndpoint endpoint)
    @cython.locals(endpoint=CEndpoint)
    cpdef _empty(self, double now)
