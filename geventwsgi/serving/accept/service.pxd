from geventwsgi.fanout cimport Fanout as CFanout
from geventwsgi.flag cimport flag
from geventwsgi.serving.accept.capacity cimport Capacity as CCapacity
from geventwsgi.serving.accept.entrance cimport Entrance as CEntrance
from geventwsgi.serving.accept.timeouts cimport Timeouts as CTimeouts
from geventwsgi.serving.loop.memory cimport Trimmer as CTrimmer
from geventwsgi.serving.loop.runners cimport Runners as CRunners
from geventwsgi.serving.request.lane cimport Policy as CPolicy
from geventwsgi.serving.wire.sending cimport Common as CCommon

cdef class Service:
    cdef public CCommon common
    cdef public CCapacity capacity
    cdef public CRunners runners
    cdef public CTimeouts timeouts
    cdef public CEntrance entrance
    cdef public CPolicy policy
    cdef public CTrimmer trimmer
    cdef public CFanout fanout
    cdef public set connections
    cdef public object empty
    cdef public object moves
    cdef public long long served
    cdef public flag keeps_greenlets
    cdef public flag greenlet_per_request
    cdef public flag draining

    cpdef bint hurries(self) except -1
