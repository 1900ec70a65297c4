from geventwsgi.events.history cimport History as CHistory
from geventwsgi.events.inbox cimport Inbox as CInbox
from geventwsgi.flag cimport flag

cimport cython

cdef class Topic:
    cdef object __weakref__
    cdef object _topics
    cdef readonly str name
    cdef readonly object key
    cdef readonly object keep
    cdef readonly CHistory history
    cdef readonly dict subscriptions
    cdef object _turn
    cdef str _source
    cdef object _number
    cdef public object _beginning
    cdef Py_ssize_t _burst

    cpdef wait(self)
    cpdef use(self)
    cpdef add(self, CInbox subscription)
    cpdef forget(self, CInbox subscription)
    @cython.locals(subscription=CInbox)
    cdef _wake_all(self)
    cpdef pace(self)
