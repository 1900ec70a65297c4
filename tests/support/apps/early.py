"""Answers at once, whatever the request's body: the path is the status, the query the size of the response."""


def application(environ, start_response):
    status = {"/413": "413 Content Too Large"}.get(environ["PATH_INFO"], "200 OK")
    body = b"x" * int(environ["QUERY_STRING"] or 5)
    start_response(status, [("Content-Length", str(len(body))), ("Content-Type", "text/plain")])
    return [body]
