from geventwsgi.http.fields cimport Fields as CFields
from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.wsgi.repeated cimport Repeated as CRepeated
from geventwsgi.wsgi.exchange cimport Exchange as CExchange

cimport cython

cdef class EnvironBuilder:
    cdef dict _base
    cdef str _header_map
    cdef object _forwarder_headers

    cpdef dict build(self, CExchange exchange)
    cpdef dict _of_connection(self, CExchange exchange)
    cpdef dict _of_block(self, CExchange exchange)

cpdef _add_request_line(dict shared, CRequestHead head)
@cython.locals(former=CRequestHead)
cpdef _follow_line(CRepeated repeated, dict shared, CRequestHead head)
@cython.locals(fields=CFields, scheme=str)
cpdef _follow(CRepeated repeated, CExchange exchange)
