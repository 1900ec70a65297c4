"""What ``clock.py`` does, as C calls."""

from libc.time cimport time
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec


cpdef double monotonic() noexcept:
    """See :func:`time.monotonic`."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec * 1e-9


cpdef long second() noexcept:
    """See :func:`geventwsgi.clock.second`."""
    return time(NULL)
