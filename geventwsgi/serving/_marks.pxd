cpdef bint has_context() noexcept
cpdef Py_ssize_t references(object one) noexcept
