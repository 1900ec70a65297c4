from geventwsgi.flag cimport flag
from geventwsgi.serving.accept cimport balance
from geventwsgi.serving.loop cimport runners
from geventwsgi.serving.loop.places cimport Places as CPlaces

cdef class Guest(runners.Sleeper):
    cdef public str remote_addr
    cdef public flag counted
    cdef public flag lingering

    cpdef kill(self)
    cpdef close(self)

cdef class Capacity(balance.Load):
    cdef public CPlaces places
    cdef public dict _by_address
    cdef public dict parked
    cdef public dict half_sent
    cdef public dict lingering
    cdef public int connections
    cdef public int per_address
    cdef int _open
    cdef int _away
    cdef public long long entered

    cpdef enter(self, Guest connection)
    cpdef leave(self, Guest connection)
