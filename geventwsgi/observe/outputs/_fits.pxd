cpdef bint fits(str line, Py_ssize_t quotes=*, Py_ssize_t backslashes=*)
