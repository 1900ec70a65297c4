"""The client's socket as a descriptor: what ``sockets.Socket`` does, with nothing between the call and the kernel.

What is received goes through one buffer of the process, so that a request takes as much memory as it has bytes. No
other thread can be there: nothing between filling and copying lets go of the interpreter's lock.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from cpython.ref cimport Py_DECREF, PyObject
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, errno
from libc.string cimport memcmp, memcpy, strerror
from posix.types cimport off_t
from posix.unistd cimport close

from geventwsgi.serving.wire.endpoint cimport Endpoint

from geventwsgi.errors import ClientDisconnected

cdef extern from "Python.h":
    PyObject *PyBytes_FromStringAndSize(const char *data, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    ssize_t send(int fd, const void *buffer, size_t size, int flags)
    int shutdown(int fd, int how)
    int setsockopt(int fd, int level, int name, const void *value, unsigned int size)
    int getsockopt(int fd, int level, int name, void *value, unsigned int *size)
    int MSG_DONTWAIT, MSG_PEEK, MSG_NOSIGNAL, SHUT_WR, SOL_SOCKET, SO_LINGER
    struct linger:
        int l_onoff
        int l_linger

    ctypedef unsigned int socklen_t
    struct sockaddr:
        pass
    struct sockaddr_storage:
        unsigned short ss_family
    int accept4(int fd, sockaddr *address, socklen_t *size, int flags)
    int AF_INET, AF_INET6, SOCK_NONBLOCK, SOCK_CLOEXEC

cdef extern from "<arpa/inet.h>" nogil:
    const char *inet_ntop(int family, const void *source, char *target, socklen_t size)
    unsigned short ntohs(unsigned short number)
    unsigned int ntohl(unsigned int number)

cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_NODELAY

cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_TCP
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        unsigned short sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        unsigned short sin6_port
        unsigned int sin6_flowinfo
        in6_addr sin6_addr
        unsigned int sin6_scope_id

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "<sys/ioctl.h>" nogil:
    int ioctl(int fd, unsigned long request, int *argument)
    int TIOCOUTQ, SIOCOUTQNSD

cdef extern from "<sys/sendfile.h>" nogil:
    ssize_t sendfile(int target, int source, off_t *offset, size_t count)

cdef extern from "<sys/epoll.h>" nogil:
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    int epoll_wait(int epoll, epoll_event *events, int most, int timeout)

cdef extern from *:
    """
    #include <sys/socket.h>
    #include <sys/uio.h>
    #ifdef __linux__
    #include <linux/sockios.h>
    #define DISCARD MSG_TRUNC
    #define LINUX_TCP_INFO TCP_INFO
    #else
    #define DISCARD 0
    #define SIOCOUTQNSD TIOCOUTQ
    #define LINUX_TCP_INFO -1
    #endif
    #ifndef MSG_MORE
    #define MSG_MORE 0
    #endif
    /* writev() without the signal that a write to a closed connection would raise */
    static ssize_t send_vector(int fd, struct iovec *parts, int count, int flags) {
        struct msghdr message = {0};
        message.msg_iov = parts;
        message.msg_iovlen = count;
        return sendmsg(fd, &message, flags);
    }
    """
    int MSG_MORE, DISCARD, LINUX_TCP_INFO
    ssize_t send_vector(int fd, iovec *parts, int count, int flags) nogil

cdef enum:
    SHARED = 65536   # bytes of the buffer that is received into
    JOIN_LIMIT = 16384   # below it, parts are copied together
    ON_ITS_WAY = 14600   # as in sockets.py
    # Places in Linux's TCP_INFO, in numbers of 4 bytes; the same as in sockets.py.
    SEGMENT = 4
    SEGMENTS = 20
    WINDOW = 57
    PARTS = 4
    BATCH = 256   # descriptors told of at once, as in epoll.py

cdef char _buffer[SHARED]
cdef char _joined[JOIN_LIMIT]


cdef _nothing(int error):
    """Return None where the kernel has nothing to give or take now; raise what else it says."""
    if error == EAGAIN:
        return None
    raise ClientDisconnected(f"[Errno {error}] {strerror(error).decode('utf-8', 'replace')}")


cdef inline int _point(iovec *part, data) except -1:
    if not PyBytes_Check(data):
        raise TypeError("a part is not bytes")
    part.iov_base = PyBytes_AS_STRING(data)
    part.iov_len = PyBytes_GET_SIZE(data)
    return 0


cdef class Socket:
    """See :class:`geventwsgi.serving.wire.sockets.Socket`."""

    def __cinit__(self, int fd, int family):
        if family <= 0:
            raise ValueError(f"an address family of {family}")
        self.fd = fd
        self.family = family

    def __dealloc__(self):
        if self.family and self.fd >= 0:  # an object whose construction failed has no descriptor, not the first one
            close(self.fd)

    cpdef recv(self, Py_ssize_t size):
        cdef ssize_t count
        if size > SHARED // 4:
            return self.recv_after(b"", size)
        if size < 0:
            raise ValueError("negative buffersize in recv")
        count = recv(self.fd, _buffer, size, MSG_DONTWAIT)
        return _nothing(errno) if count < 0 else _buffer[:count]

    cpdef recv_after(self, bytes before, Py_ssize_t size):
        # Straight into what the caller gets. Without anything before it, this is recv.
        cdef Py_ssize_t start = len(before)
        cdef PyObject *data
        cdef char *bytes_of
        cdef ssize_t count
        cdef int error
        if size <= start:
            return before
        data = PyBytes_FromStringAndSize(NULL, size)
        bytes_of = PyBytes_AS_STRING(<object>data)
        count = recv(self.fd, bytes_of + start, size - start, MSG_DONTWAIT)
        if count <= 0:
            error = errno
            Py_DECREF(<object>data)
            return _nothing(error) if count < 0 and not start else before
        memcpy(bytes_of, PyBytes_AS_STRING(before), start)
        if start + count < size:
            _PyBytes_Resize(&data, start + count)  # lets the memory behind go, without a copy
        found = <object>data
        Py_DECREF(found)
        return found

    cpdef peek(self):
        cdef ssize_t count = recv(self.fd, _buffer, 1, MSG_PEEK | MSG_DONTWAIT)
        return _nothing(errno) if count < 0 else _buffer[:count]

    cpdef discard(self):
        cdef int flags = MSG_DONTWAIT | (DISCARD if self.family == AF_INET or self.family == AF_INET6 else 0)
        cdef ssize_t count = recv(self.fd, _buffer, SHARED, flags)
        return _nothing(errno) if count < 0 else count

    cpdef bint settled(self, bint last) noexcept:
        cdef ssize_t ahead = recv(self.fd, _buffer, 1, MSG_PEEK | MSG_DONTWAIT)
        cdef int owed = 0, held = 0
        if ahead >= 0 or errno != EAGAIN:
            return ahead <= 0
        ioctl(self.fd, TIOCOUTQ, &owed)
        if owed <= 0 or owed > ON_ITS_WAY:
            return owed <= 0
        if not last and (self.family == AF_INET or self.family == AF_INET6):
            return False
        ioctl(self.fd, SIOCOUTQNSD, &held)
        return held == 0 or self._has_room(owed)

    cdef bint _has_room(self, unsigned int size) noexcept:
        cdef unsigned int info[WINDOW + 1]
        cdef socklen_t length = sizeof(info)
        if getsockopt(self.fd, IPPROTO_TCP, LINUX_TCP_INFO, info, &length) < 0 or length < sizeof(info):
            return False
        return size <= info[WINDOW] and size <= <unsigned long long>info[SEGMENT] * info[SEGMENTS]

    cpdef Py_ssize_t send(self, data, bint more=False) except -1:
        cdef Py_buffer view
        cdef ssize_t count
        cdef int error, flags = MSG_NOSIGNAL | MSG_DONTWAIT | (MSG_MORE if more else 0)
        if type(data) is bytes:
            count = send(self.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), flags)
            error = errno
        else:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
            count = send(self.fd, view.buf, view.len, flags)
            error = errno
            PyBuffer_Release(&view)  # which may run code of the buffer's own
        if count < 0:
            _nothing(error)
            return 0
        return count

    cpdef Py_ssize_t send_parts(self, first, second, third, fourth, bint more=False) except -1:
        cdef iovec vector[PARTS]
        cdef Py_ssize_t size = 0
        cdef ssize_t count
        cdef int index, flags = MSG_NOSIGNAL | MSG_DONTWAIT | (MSG_MORE if more else 0)
        _point(vector, first)
        _point(vector + 1, second)
        _point(vector + 2, third)
        _point(vector + 3, fourth)
        for index in range(PARTS):
            size += vector[index].iov_len
        if size > JOIN_LIMIT:
            count = send_vector(self.fd, vector, PARTS, flags)
        else:
            size = 0
            for index in range(PARTS):
                memcpy(_joined + size, vector[index].iov_base, vector[index].iov_len)
                size += vector[index].iov_len
            count = send(self.fd, _joined, size, flags)
        if count < 0:
            _nothing(errno)
            return 0
        return count

    cpdef send_file(self, int fileno, long long offset, Py_ssize_t count):
        cdef off_t start = offset
        cdef ssize_t sent
        cdef int error
        if offset < 0 or count < 0:
            raise ValueError(f"{count} bytes from {offset} of a file")
        with nogil:  # the file may have to be read first
            sent = sendfile(self.fd, fileno, &start, count)
            while sent < 0 and errno == EINTR:
                sent = sendfile(self.fd, fileno, &start, count)
            error = errno  # before the lock is taken, whose calls may set it
        return _nothing(error) if sent < 0 else sent

    cpdef int unread(self) noexcept:
        cdef int count = 0
        ioctl(self.fd, TIOCOUTQ, &count)
        return count

    cpdef gather(self, bint on):
        cdef int at_once = not on
        setsockopt(self.fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof(at_once))

    cpdef end_sending(self):
        if shutdown(self.fd, SHUT_WR) < 0:
            _nothing(errno)

    cpdef reset_on_close(self):
        cdef linger now
        now.l_onoff = 1
        now.l_linger = 0
        setsockopt(self.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now))

    cpdef close(self):
        cdef int fd = self.fd
        self.fd = -1
        if fd >= 0:
            close(fd)

    cpdef int detach(self) except? -1:
        cdef int fd = self.fd
        self.fd = -1
        return fd

    cpdef int fileno(self) except? -1:
        return self.fd


cdef inline _at(list streams, int fd):
    """Return the stream at a descriptor's place; None where there is none."""
    return streams[fd] if 0 <= fd < len(streams) else None


cdef class EpollSet:
    """See :class:`geventwsgi.serving.wire.epoll.EpollSet`."""

    def __cinit__(self):
        self.fd = epoll_create1(EPOLL_CLOEXEC)
        self.made = True
        if self.fd < 0:
            PyErr_SetFromErrno(OSError)

    def __dealloc__(self):
        if self.made and self.fd >= 0:  # as with the socket
            close(self.fd)

    cpdef add(self, int fd, unsigned int events):
        self._change(EPOLL_CTL_ADD, fd, events)

    cpdef renew(self, int fd, unsigned int events):
        self._change(EPOLL_CTL_MOD, fd, events)

    cpdef remove(self, int fd):
        self._change(EPOLL_CTL_DEL, fd, 0)

    cdef _change(self, int operation, int fd, unsigned int events):
        cdef epoll_event event
        event.events = events
        event.data.fd = fd
        if epoll_ctl(self.fd, operation, fd, &event) < 0:
            PyErr_SetFromErrno(OSError)

    cpdef tell(self, list streams, report):
        cdef epoll_event events[BATCH]
        cdef int index, count = epoll_wait(self.fd, events, BATCH, 0)
        cdef list told
        if count < 0 and errno != EINTR:
            PyErr_SetFromErrno(OSError)
        if count == 1:  # mostly
            self._tell(_at(streams, events[0].data.fd), events[0].events, report)
            return
        told = [_at(streams, events[index].data.fd) for index in range(count)]
        for index in range(count):
            self._tell(told[index], events[index].events, report)

    cdef _tell(self, stream, unsigned int events, report):
        if stream is not None and self.fd >= 0:
            try:
                (<Endpoint?> stream).happened(events)
            except BaseException as error:
                report(error)

    cpdef int fileno(self) except? -1:
        return self.fd

    cpdef close(self):
        cdef int fd = self.fd
        self.fd = -1
        if fd >= 0:
            close(fd)


def accept(listener):
    """See :func:`geventwsgi.serving.wire.sockets.accept`."""
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    cdef int fd = accept4(listener.fileno(), <sockaddr *>&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if fd < 0:
        if errno == EAGAIN or errno == ECONNABORTED or errno == EINTR:
            return None
        PyErr_SetFromErrno(OSError)
    return Socket(fd, address.ss_family), _named(&address)


# The last client's address and its text: behind a proxy all have the same.
cdef in_addr _last_address
cdef str _last_host = None


cdef _named(sockaddr_storage *address):
    """Return an address as the standard library does."""
    cdef char host[46]
    cdef sockaddr_in *four = <sockaddr_in *>address
    cdef sockaddr_in6 *six = <sockaddr_in6 *>address
    global _last_address, _last_host
    if address.ss_family == AF_INET:
        if _last_host is None or memcmp(&_last_address, &four.sin_addr, sizeof(in_addr)):
            inet_ntop(AF_INET, &four.sin_addr, host, sizeof(host))
            _last_host = host.decode("ascii")
            _last_address = four.sin_addr
        return _last_host, ntohs(four.sin_port)
    if address.ss_family == AF_INET6:
        inet_ntop(AF_INET6, &six.sin6_addr, host, sizeof(host))
        return host.decode("ascii"), ntohs(six.sin6_port), ntohl(six.sin6_flowinfo), six.sin6_scope_id
    return ""
