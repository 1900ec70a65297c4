from geventwsgi.flag cimport flag

cdef class Inbox:
    cdef object __weakref__
    cdef object _draining
    cdef object _gone
    cdef object _waiter
    cdef public flag closed

    cpdef bint awaited(self) except -1
    cpdef bint drains(self) except -1
    cpdef wake(self, _event=*)
