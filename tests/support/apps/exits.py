"""Calls ``sys.exit`` in a view: the request fails, the worker must not."""

from __future__ import annotations

import sys


def application(environ, start_response):
    sys.exit("the application has had enough")
