cdef class Client:
    cdef object _lane
