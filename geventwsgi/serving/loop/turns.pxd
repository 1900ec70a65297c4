from geventwsgi.serving.loop cimport _switching as switching

cdef class Turns:
    cdef object _owner
    cdef int _depth
    cdef object _waiting

    cpdef bint take(self, timeout=*) except -1
    cdef bint _wait(self, timeout) except -1
    cpdef give(self)
    cdef _pass_on(self)
