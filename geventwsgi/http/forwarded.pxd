cimport cython

from geventwsgi.http.fields cimport Fields as CFields

@cython.locals(former=CFields)
cpdef str forwarded_scheme(CFields fields, secure_scheme_headers, str default)
