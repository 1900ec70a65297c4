from geventwsgi.events.inbox cimport Inbox as CInbox
from geventwsgi.events.subscription cimport Reading as CReading
from geventwsgi.wsgi.held cimport Held, Piece as CPiece, Recall

cimport cython

cdef class WaitingBody(Held):
    cdef dict __dict__
    cdef object __weakref__
    cdef CInbox _inbox
    cdef object _outlet
    cdef object _environ
    cdef object _iterator

    cpdef _heed(self)

cdef class LongPoll(WaitingBody):
    cdef object _body
    cdef public object headers

    @cython.locals(inbox=CReading)
    cpdef CPiece take(self)

cdef class Poll(Recall):
    cdef object _source
    cdef object _position
    cdef CReading _reading
    cdef object _outlet
    cdef list _found
