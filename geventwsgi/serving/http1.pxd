from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.serving.connection cimport Connection as CConnection

cpdef int serve(CConnection connection)
cpdef CRequestHead _read_head(CConnection connection, bytes data)
