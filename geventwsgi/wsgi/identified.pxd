from geventwsgi.wsgi cimport response
from geventwsgi.wsgi.exchange cimport ResponseHead as CResponseHead

cimport cython

cdef class Identified(response.Response):
    cdef str _name
    cdef readonly str identity

    @cython.locals(head=CResponseHead)
    cpdef _with_identity(self)
