cpdef Py_ssize_t start_of_head(bytes buffer) noexcept
cpdef Py_ssize_t end_of_line(bytes buffer, Py_ssize_t start) noexcept
cpdef Py_ssize_t end_of_head(bytes buffer, Py_ssize_t start) noexcept
cpdef request_line(bytes buffer, Py_ssize_t start, Py_ssize_t end)
cpdef list field_items(bytes block)
cpdef tuple changed_items(bytes former, bytes raw, tuple items)
