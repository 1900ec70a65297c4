cpdef Py_ssize_t start_of_head(bytes buffer) except -1
cpdef Py_ssize_t end_of_line(bytes buffer, Py_ssize_t start) except -2
cpdef Py_ssize_t end_of_head(bytes buffer, Py_ssize_t start) except -2
cpdef request_line(bytes buffer, Py_ssize_t start, Py_ssize_t end)
cpdef list field_items(bytes block)
cpdef tuple changed_items(bytes former, bytes raw, tuple items)
