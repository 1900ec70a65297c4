cpdef switch(to)
cdef tell(to, what)
cdef current()
