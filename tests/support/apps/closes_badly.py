"""Its iterable's ``close()`` fails."""

from __future__ import annotations


class Body:
    def __iter__(self):
        return iter([b"complete\n"])

    def close(self):
        raise RuntimeError("in close()")


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "9")])
    return Body()
