from geventwsgi.flag cimport flag

cdef class Socket:
    cdef int fd
    cdef int family

    cpdef recv(self, Py_ssize_t size)
    cpdef recv_after(self, bytes before, Py_ssize_t size)
    cpdef peek(self)
    cpdef discard(self)
    cpdef bint settled(self, bint last) noexcept
    cdef bint _has_room(self, unsigned int size) noexcept
    cpdef Py_ssize_t send(self, data, bint more=*) except -1
    cpdef Py_ssize_t send_parts(self, first, second, third, fourth, bint more=*) except -1
    cpdef send_file(self, int fileno, long long offset, Py_ssize_t count)
    cpdef int unread(self) noexcept
    cpdef gather(self, bint on)
    cpdef end_sending(self)
    cpdef reset_on_close(self)
    cpdef close(self)
    cpdef int fileno(self) except? -1
    cpdef int detach(self) except? -1

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        unsigned int events
        epoll_data_t data

cdef class EpollSet:
    cdef int fd
    cdef flag made

    cpdef add(self, int fd, unsigned int events)
    cpdef renew(self, int fd, unsigned int events)
    cpdef remove(self, int fd)
    cdef _change(self, int operation, int fd, unsigned int events)
    cpdef tell(self, list streams, report)
    cdef _tell(self, stream, unsigned int events, report)
    cpdef int fileno(self) except? -1
    cpdef close(self)
