"""Writes the query string to ``wsgi.errors`` in each way that PEP 3333 names."""

from __future__ import annotations


def application(environ, start_response):
    errors, text = environ["wsgi.errors"], environ["QUERY_STRING"]
    errors.write(f"write {text}\n")
    errors.writelines([f"writelines {text}\n"])
    print(f"print {text}", file=errors)
    errors.flush()
    start_response("204 No Content", [])
    return []
