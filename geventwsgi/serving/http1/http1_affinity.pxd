cimport cython

from geventwsgi cimport _clock as clock
from geventwsgi.http.fields cimport Fields as CFields
from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.serving.request cimport sticky
from geventwsgi.system.shared cimport Slot as CSlot

cdef class Places(sticky.Tokens):
    cdef public CSlot _slot
    cdef public object _whereabouts
    cdef public dict _seats
    cdef public dict _by_token
    cdef public dict _chosen
    cdef public dict _settled
    cdef public list _found
    cdef long long _number
    cdef str _token

    cpdef bint holds(self, double until) except -1
    @cython.locals(until=object)
    cpdef double settled_until(self, str value) except -1
    cpdef double settle(self, str value, double seconds) except -1

cdef class Affinity:
    cdef public object _moves
    cdef public Places _places

    cpdef value_of(self, connection, CRequestHead head)
    cpdef find(self, str value)
    @cython.locals(places=Places, fields=CFields, value=str, until=double)
    cpdef bint leads_away(self, connection, CRequestHead head) except -1
    cpdef _note(self, CFields fields, str value, double until)

cdef class ByCookie(Affinity):
    cdef public str _start

cdef class ByQuery(Affinity):
    cdef public str _name

cdef class ByHeader(ByQuery):
    pass

cdef class ByAddress(Affinity):
    cdef public object _client_of

@cython.locals(pair=str, key=str, value=str)
cpdef str parameter_of(str query, str name)

@cython.locals(size=Py_ssize_t, name=str, value=str)
cpdef str field_of(CFields fields, str lower)
