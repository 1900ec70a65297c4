cpdef bint has_context() noexcept
cpdef Py_ssize_t references(object one) noexcept
cpdef Py_ssize_t weak_references(object one) noexcept
cpdef bint marked(object me, object kind, Py_ssize_t weak, bint more) noexcept
