from geventwsgi.http.encode cimport LastHead as CLastHead
from geventwsgi.http.known cimport KnownBlocks as CKnownBlocks
from geventwsgi.observe.tally cimport Tally as CTally
from geventwsgi.serving.http1.http1_affinity cimport Affinity as CAffinity
from geventwsgi.wsgi.gateway cimport Gateway as CGateway

cdef class Forwarding:
    cdef public str scheme
    cdef public object secure_scheme_headers
    cdef public object client_of

cdef class Http1Policy:
    cdef public CGateway gateway
    cdef public object limits
    cdef public object leniency
    cdef public Forwarding forwarding
    cdef public str server_header
    cdef public object on_record
    cdef public dict pages
    cdef public CTally tally
    cdef public CAffinity affinity
    cdef public CLastHead last_head
    cdef public CKnownBlocks known
