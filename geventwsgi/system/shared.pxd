cimport cython

cdef int ACCEPTING, CONNECTIONS, FIELDS, REQUESTS, SEAT

cdef class Slot:
    cdef public int index
    cdef public object stalls
    cdef int _base
    cdef unsigned long long[::1] _fields

    cpdef count(self, unsigned long long requests, unsigned long long connections)
    @cython.locals(base=long)
    cpdef long long sitting(self, long index) except -1
    @cython.locals(base=long, end=long, load=long, least=long)
    cpdef long long least(self)
