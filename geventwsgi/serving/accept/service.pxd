from geventwsgi.http.encode cimport LastHead as CLastHead
from geventwsgi.http.known cimport KnownBlocks as CKnownBlocks
from geventwsgi.serving.accept.capacity cimport Capacity as CCapacity
from geventwsgi.serving.loop.deadlines cimport Deadlines as CDeadlines
from geventwsgi.serving.request.lane cimport Policy as CPolicy
from geventwsgi.serving.wire.poller cimport Poller as CPoller
from geventwsgi.serving.loop.runners cimport Runners as CRunners
from geventwsgi.serving.loop.memory cimport Trimmer as CTrimmer
from geventwsgi.serving.wire.sending cimport Common as CCommon
from geventwsgi.wsgi.gateway cimport Gateway as CGateway

cdef class Timeouts:
    cdef public double tls_handshake
    cdef public double first_byte
    cdef public double head
    cdef public double keepalive
    cdef public double body_grace
    cdef public double body_min_rate
    cdef public double body
    cdef public double drain_body
    cdef public double write
    cdef public double write_min_rate
    cdef public double request
    cdef public double queue
    cdef public double warm
    cdef public double linger

cdef class Service:
    cdef public CGateway gateway
    cdef public object limits
    cdef public object leniency
    cdef public Timeouts timeouts
    cdef public CPoller poller
    cdef public CDeadlines deadlines
    cdef public CCapacity capacity
    cdef public CCommon common
    cdef public object log
    cdef public str software
    cdef public object tls
    cdef public object proxies
    cdef public bint has_prologue
    cdef public str scheme
    cdef public bint ragged_eof_ends
    cdef public object trusts
    cdef public object peers
    cdef public object secure_scheme_headers
    cdef public object client_of
    cdef public object on_record
    cdef public CRunners runners
    cdef public CPolicy policy
    cdef public bint keeps_greenlets
    cdef public bint greenlet_per_request
    cdef public dict pages
    cdef public CLastHead last_head
    cdef public CKnownBlocks known
    cdef public CTrimmer trimmer
    cdef public set connections
    cdef public object empty
    cdef public object refused
    cdef public bint draining
    cdef public long long served
