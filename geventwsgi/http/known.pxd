from geventwsgi.http.fields cimport Fields as CFields

cdef class KnownBlocks:
    cdef dict _fields

    cpdef CFields find(self, bytes raw)
    cpdef add(self, CFields fields)
