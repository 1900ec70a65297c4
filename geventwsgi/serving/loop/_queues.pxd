cdef class Queue:
    cdef list _items
    cdef Py_ssize_t _first
    cdef Py_ssize_t _end

    cpdef put(self, item)
    cpdef take(self)
    cpdef take_last(self)
    cdef _make_room(self)
