from geventwsgi.serving.accept cimport balance
from geventwsgi.serving.loop cimport runners
from geventwsgi.serving.loop.places cimport Places as CPlaces

cdef class Guest(runners.Sleeper):
    cdef public bint counted
    cdef public bint lingering
    cdef public str remote_addr

    cpdef kill(self)
    cpdef close(self)

cdef class Capacity(balance.Load):
    cdef public CPlaces places
    cdef public int connections
    cdef public int per_address
    cdef int _open
    cdef public dict _by_address
    cdef public dict parked
    cdef public dict half_sent
    cdef public dict lingering

    cpdef enter(self, Guest connection)
    cpdef leave(self, Guest connection)
