cdef class EpollPoller:
    cdef object __weakref__
    cdef object _epoll
    cdef list _streams
    cdef Py_ssize_t _open
    cdef object _watcher
