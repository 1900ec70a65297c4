"""What ``marks.py`` does, as C calls."""

from cpython.ref cimport PyObject

cdef extern from "Python.h":
    ctypedef struct PyThreadState:
        PyObject *context   # the running greenlet's, which exchanges it when it switches
    PyThreadState *PyThreadState_Get() noexcept
    Py_ssize_t Py_REFCNT(object one) noexcept
    Py_ssize_t count_of "Py_REFCNT" (PyObject *one) noexcept
    Py_ssize_t PyDict_GET_SIZE(PyObject *one) noexcept
    ctypedef struct PyWeakReference:
        PyWeakReference *wr_next

cdef extern from "greenlet/greenlet.h":
    ctypedef struct PyGreenlet:
        PyObject *weakreflist
        PyObject *dict      # NULL before it is asked for


cpdef bint has_context() noexcept:
    """See :func:`geventwsgi.serving.loop.marks.has_context`."""
    return PyThreadState_Get().context != NULL


cpdef Py_ssize_t references(object one) noexcept:
    """Return how many references there are; see :func:`sys.getrefcount`."""
    return Py_REFCNT(one)


cpdef Py_ssize_t weak_references(object one) noexcept:
    """Return how many weak references there are to a greenlet; see :func:`weakref.getweakrefcount`."""
    cdef Py_ssize_t count = 0
    cdef PyWeakReference *next = <PyWeakReference *> (<PyGreenlet *> one).weakreflist
    while next != NULL:
        count += 1
        next = next.wr_next
    return count


cpdef bint marked(object me, object kind, Py_ssize_t weak, bint more) noexcept:
    """See :func:`geventwsgi.serving.loop.marks.marked`."""
    cdef PyObject *attributes = (<PyGreenlet *> me).dict
    if type(me) is not kind or weak_references(me) != weak + more:
        return True
    return attributes != NULL and (PyDict_GET_SIZE(attributes) != 0 or count_of(attributes) != 1)
