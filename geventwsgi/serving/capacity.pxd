cdef class Capacity:
    cdef public int requests
    cdef public int connections
    cdef public int per_address
    cdef public int queue
    cdef public int free
    cdef object _waiting
    cdef int _open
    cdef public dict _by_address
    cdef public object balance
    cdef public dict parked
    cdef public dict half_sent
    cdef public dict lingering

    cpdef take(self, timeout=*)
    cpdef give_back(self)
    cpdef int in_flight(self)
    cpdef int open(self)
    cpdef enter(self, connection)
    cpdef leave(self, connection)
