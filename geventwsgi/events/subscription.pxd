from geventwsgi.due cimport Due as CDue
from geventwsgi.events.history cimport History as CHistory, Message as CMessage
from geventwsgi.events.inbox cimport Inbox
from geventwsgi.events.topic cimport Topic as CTopic
from geventwsgi.flag cimport flag

cimport cython

cdef class Reading(Inbox):
    cpdef list batch(self, timeout=*)
    cpdef list portion(self, timeout=*)
    cpdef list _await(self, timeout, room)
    cpdef call(self, CDue waiter)
    cpdef CMessage next_or_call(self, CDue waiter)
    cpdef list _take(self, room)

cdef class Subscription(Reading):
    cdef readonly object owner
    cdef CTopic _channel
    cdef CHistory _history
    cdef str _after
    cdef object _seen
    cdef object _count
    cdef str _position
    cdef Py_ssize_t _until
    cdef Py_ssize_t _next
    cdef flag _counts_untold
    cdef flag _may_be_anew
    cdef flag _begun

    @cython.locals(channel=CTopic)
    cdef bint _has_begun(self) except -1
    cdef _begin(self, CTopic channel)
    cdef _resume(self, cursor, str after, newest)
    @cython.locals(channel=CTopic, history=CHistory, message=CMessage)
    cpdef CMessage next_or_call(self, CDue waiter)
    @cython.locals(history=CHistory, taken=list, messages=list, start=Py_ssize_t, first=CMessage, last=CMessage, in_turn=bint)
    cpdef list _take(self, room)
    @cython.locals(message=CMessage, found=list)
    cdef list _unseen(self, list messages)
