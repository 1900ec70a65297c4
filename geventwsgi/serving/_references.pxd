# What cimports this under the name of marks asks for an object's references by a look at the field, without a call.

cdef extern from "Python.h":
    Py_ssize_t references "Py_REFCNT" (object one) noexcept
