from geventwsgi.observe.atoms cimport CommonLogTime as CCommonLogTime

cdef class Record:
    cdef public object req
    cdef public object resp
    cdef public object environ
    cdef public double duration

cdef class Renderer:
    cdef list _exact
    cdef str _template
    cdef list _atoms
    cdef str _plain
    cdef Py_ssize_t _quotes
    cdef Py_ssize_t _backslashes

    cpdef str line(self, Record record)

cdef class Combined(Renderer):
    cdef CCommonLogTime _clock
    cdef Renderer _more
    cdef str _status
    cdef str _code
    cdef object _sent
    cdef str _size

    cpdef str _combined(self, dict environ, resp)
