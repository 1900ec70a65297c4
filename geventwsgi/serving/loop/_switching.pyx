"""What ``switching.py`` does, and more, by the functions that greenlet has for C."""

from cpython.object cimport PyObject

cdef extern from "greenlet/greenlet.h":
    ctypedef struct PyGreenlet:
        pass
    void PyGreenlet_Import() except *
    object PyGreenlet_Switch(PyGreenlet *to, PyObject *args, PyObject *kwargs)

cdef extern from *:
    """
    #define current_object() ((PyObject *) PyGreenlet_GetCurrent())  /* the cast is an error from gcc 14 on if left out */
    """
    object current_object()

PyGreenlet_Import()


cpdef switch(to):
    """See ``geventwsgi.serving.loop.switching.switch``."""
    return PyGreenlet_Switch(<PyGreenlet *> to, NULL, NULL)


cdef tell(to, what):
    """Switch, and have the switch that ``to`` made before return ``what``."""
    args = (what,)
    return PyGreenlet_Switch(<PyGreenlet *> to, <PyObject *> args, NULL)


cdef current():
    """See :func:`greenlet.getcurrent`."""
    return current_object()
