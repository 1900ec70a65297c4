from geventwsgi.events.history cimport Message as CMessage
from geventwsgi.events.inbox cimport Inbox
from geventwsgi.events.subscription cimport Reading as CReading
from geventwsgi.events.waiting cimport WaitingBody
from geventwsgi.wsgi.held cimport Piece as CPiece

cimport cython

cdef class EventStream(WaitingBody):
    cdef public object headers
    cdef object _drain_retry
    cdef CMessage _later
    cdef Gzip _gzip

    @cython.locals(piece=CPiece, gzip=Gzip)
    cpdef CPiece take(self)
    @cython.locals(inbox=CReading, only=CMessage, message=CMessage, messages=list)
    cdef CPiece _next(self)
    @cython.locals(message=CMessage)
    cdef CPiece _piece(self, list messages)

cdef class Pump(Inbox):
    cdef object _iterable
    cdef list _items
    cdef object _taken
    cdef object _error
    cdef object _greenlet

cdef class Joined:
    cdef list _messages
    cdef CPiece _piece

    cpdef CPiece piece(self, list messages)

cdef class Gzip:
    cdef public unsigned long check
    cdef public long long size

    cpdef CPiece next(self, CPiece piece)
