cdef class Socket:
    cdef int fd
    cdef int family

    cdef _recv_large(self, Py_ssize_t size)
    cpdef recv(self, Py_ssize_t size)
    cpdef peek(self)
    cpdef Py_ssize_t send(self, data, bint more=*) except -1
    cpdef Py_ssize_t send_parts(self, parts, Py_ssize_t size) except -1
    cpdef end_sending(self)
    cpdef reset_on_close(self)
    cpdef close(self)
    cpdef int fileno(self) except? -1
    cpdef int detach(self) except? -1
