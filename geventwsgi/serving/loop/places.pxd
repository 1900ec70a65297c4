cdef class Places:
    cdef public int requests
    cdef public int queue
    cdef public int free
    cdef object _waiting

    cpdef bint take_now(self) noexcept
    cpdef take(self, timeout=*)
    cpdef give_back(self)
    cpdef int in_flight(self) noexcept
