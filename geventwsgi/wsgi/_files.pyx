"""What ``files.py`` asks the system, as a C call: Python's answer has twenty numbers, most of them made of others."""

from cpython.exc cimport PyErr_SetFromErrno

cdef enum:
    PAGE = 65536

cdef extern from "<sys/stat.h>" nogil:
    ctypedef unsigned int mode_t
    struct stat:
        mode_t st_mode
        long long st_size
        long long st_blocks
    int fstat(int fd, stat *status)
    bint S_ISREG(mode_t mode)


cpdef regular_size(int fileno):
    """See :func:`geventwsgi.wsgi.files.regular_size`."""
    cdef stat status
    if fstat(fileno, &status) < 0:
        PyErr_SetFromErrno(OSError)
    if not S_ISREG(status.st_mode) or (status.st_blocks == 0 and status.st_size <= PAGE):
        return None
    return status.st_size
