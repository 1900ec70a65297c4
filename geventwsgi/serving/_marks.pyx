"""What ``marks.py`` does, as C calls."""

from cpython.ref cimport PyObject

cdef extern from "Python.h":
    ctypedef struct PyThreadState:
        PyObject *context   # the running greenlet's, which exchanges it when it switches
    PyThreadState *PyThreadState_Get() noexcept
    Py_ssize_t Py_REFCNT(object one) noexcept


cpdef bint has_context() noexcept:
    """See :func:`geventwsgi.serving.marks.has_context`."""
    return PyThreadState_Get().context != NULL


cpdef Py_ssize_t references(object one) noexcept:
    """Return how many references there are; see :func:`sys.getrefcount`."""
    return Py_REFCNT(one)
