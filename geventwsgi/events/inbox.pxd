from geventwsgi cimport due
from geventwsgi.due cimport Due as CDue
from geventwsgi.flag cimport flag

cimport cython

cdef class Sleep(due.Due):
    cdef object _hub
    cdef readonly object waiter

cdef class Inbox:
    cdef object __weakref__
    cdef object _draining
    cdef object _gone
    cdef CDue _waiter
    cdef public flag closed

    cpdef bint awaited(self) except -1
    cpdef bint drains(self) except -1
    @cython.locals(waiter=CDue)
    cpdef wake(self, _event=*)
