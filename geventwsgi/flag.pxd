# True or False in one byte. Cython's bint is a C int, which takes four in each object.
cdef extern from "<stdbool.h>" nogil:
    ctypedef bint flag "bool"
