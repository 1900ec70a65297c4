from geventwsgi cimport due
from geventwsgi.due cimport Due as CDue
from geventwsgi.flag cimport flag

cdef class Held:
    cdef public bytes first
    cdef public object heartbeat
    cdef public flag over

    cpdef attach(self, CDue outlet)
    cpdef Piece take(self)

cdef class Recall(Held):
    pass

cdef class Piece:
    cdef public bytes data
    cdef public bytes framed
    cdef public Piece compressed

cdef class Line(due.Due):
    cpdef send(self, bytes data)
    cpdef make_room(self)
    cpdef breathe(self)
    cpdef rouse(self)

cdef class Upgrade:
    cdef readonly object pings

    cpdef attach(self, Line outlet)
    cpdef detach(self)
    cpdef feed(self, bytes data)
    cpdef bint hungry(self) except -1
    cpdef bint must_finish(self) except -1
    cpdef bytes unread(self)
    cpdef bint step(self) except -1
    cpdef deafen(self)
    cpdef bint finished(self) except -1
    cpdef take(self)
    cpdef bytes ping(self)
    cpdef lose(self)
    cpdef drain(self)
    cpdef bint fail(self, error) except -1

cdef class Call:
    cdef public object gateway
    cdef public object result
    cdef public object response
    cdef public dict environ
    cdef public double started
