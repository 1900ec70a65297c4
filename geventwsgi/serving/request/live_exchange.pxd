from geventwsgi cimport _clock as clock
from geventwsgi.flag cimport flag
from geventwsgi.wsgi cimport exchange

cdef class LiveExchange(exchange.Exchange):
    cdef public object audience
    cdef public double until
    cdef public double since
    cdef public flag ended

    cpdef arrive(self)
    cpdef begin_turn(self)
    cpdef client_left(self)
    cpdef interrupt(self, error)
    cpdef bytes probe(self)
    cpdef send_early_hints(self, headers)
    cpdef send_trailers(self, trailers)
