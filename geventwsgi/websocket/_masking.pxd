cpdef bytes unmask(bytes data, Py_ssize_t start, Py_ssize_t count, bytes key)
cpdef bytes unmasked_frame(int first, bytes payload)
