from geventwsgi.http.fields cimport Fields as CFields
from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.wsgi.exchange cimport Exchange as CExchange

cdef class EnvironBuilder:
    cdef dict _base
    cdef str _header_map
    cdef object _forwarder_headers

    cpdef dict build(self, CExchange exchange)
    cpdef dict _shared(self, CExchange exchange)

cpdef _add_request_line(dict shared, CRequestHead head)
