"""What ``switching.py`` does, and more, by the functions that greenlet has for C."""

from cpython.object cimport PyObject

cdef extern from "greenlet/greenlet.h":
    ctypedef struct PyGreenlet:
        pass
    void PyGreenlet_Import() except *
    object PyGreenlet_GetCurrent()
    object PyGreenlet_Switch(PyGreenlet *to, PyObject *args, PyObject *kwargs)

PyGreenlet_Import()


cpdef switch(to):
    """See ``geventwsgi.serving.switching.switch``."""
    return PyGreenlet_Switch(<PyGreenlet *> to, NULL, NULL)


cdef tell(to, what):
    """Switch, and have the switch that ``to`` made before return ``what``."""
    args = (what,)
    return PyGreenlet_Switch(<PyGreenlet *> to, <PyObject *> args, NULL)


cdef current():
    """See :func:`greenlet.getcurrent`."""
    return PyGreenlet_GetCurrent()
