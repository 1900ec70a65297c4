# What cimports this under the name of marks asks what is known of an object by a look at a field, without a call.

cdef extern from "Python.h":
    Py_ssize_t references "Py_REFCNT" (object one) noexcept
    bint is_tracked "PyObject_GC_IsTracked" (object one) noexcept


cdef inline size_t address(object one) noexcept:
    return <size_t> <void *> one
