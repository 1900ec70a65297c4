from geventwsgi.due cimport Due as CDue
from geventwsgi.events.inbox cimport Inbox as CInbox
from geventwsgi.events.subscription cimport Reading as CReading
from geventwsgi.flag cimport flag
from geventwsgi.wsgi.held cimport Held, Piece as CPiece, Recall

cimport cython

cdef class WaitingBody(Held):
    cdef object __weakref__
    cdef CInbox _inbox
    cdef CDue _outlet
    cdef object _environ
    cdef object _iterator
    cdef flag _own

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
    cdef CDue _outlet
    cdef list _found
