from geventwsgi.http.fields cimport Fields as CFields
from geventwsgi.wsgi.exchange cimport Exchange as CExchange, ResponseHead as CResponseHead
from geventwsgi.wsgi cimport response

cimport cython

cdef class Tokens:
    cpdef own_token(self)
    cpdef by_token(self, str token)

cdef class SetsCookie(response.LastHead):
    cdef CResponseHead _bare
    cdef CResponseHead _with_cookie
    cdef str _own
    cdef str _start
    cdef Tokens _tokens
    cdef bint _secure

    @cython.locals(head=CResponseHead, made=CResponseHead, own=str, given=str, secure=bint, fields=CFields)
    cpdef CResponseHead head_of(self, CExchange exchange, status, headers)

cdef class Learns(response.LastHead):
    cdef CResponseHead _without
    cdef str _name
    cdef object _learn

    @cython.locals(head=CResponseHead)
    cpdef CResponseHead head_of(self, CExchange exchange, status, headers)
    @cython.locals(found=bint, wanted=str, name=str)
    cdef _look(self, CResponseHead head)

cdef class LearnsHandshakes:
    cdef public object application
    cdef object _learn

@cython.locals(query=str)
cdef bint _begins(environ) except -1

@cython.locals(field=str, value=str, pair=str)
cpdef str cookie_of(CFields fields, str start)
