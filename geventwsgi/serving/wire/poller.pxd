from geventwsgi.serving.wire.endpoint cimport Endpoint as CEndpoint
from geventwsgi.serving.wire._native cimport EpollSet as CEpollSet

cdef class Poller:
    cdef object __weakref__
    cdef public object complain

    cpdef watch(self, CEndpoint stream, int fd, int events)
    cpdef tell_again(self, CEndpoint stream, int fd)
    cpdef forget(self, CEndpoint stream, int fd)

cdef class EpollPoller(Poller):
    cdef CEpollSet _set
    cdef list _streams
    cdef Py_ssize_t _open
    cdef object _watcher
    cdef object _report
