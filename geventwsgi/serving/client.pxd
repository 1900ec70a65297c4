cdef class Client:
    cdef object _connection
