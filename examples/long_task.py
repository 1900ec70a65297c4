"""A long task that shows its progress, and stops when its client leaves.

    gwsgi --workers 2 --request-timeout 30 long_task:app

``curl -N localhost:8000`` prints a line for each step; after Ctrl-C the error log says where the task has stopped.
"""

import time

STEPS = 100


def app(environ, start_response):
    environ["geventwsgi.client"].cancel_on_gone()  # ClientDisconnected, where the task waits
    environ["geventwsgi.deadline"].lift()  # the other requests keep their 30 seconds
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return task(environ["wsgi.errors"])


def task(errors):
    step = 0
    try:
        for step in range(1, STEPS + 1):
            time.sleep(0.1)
            yield f"{step} of {STEPS}\n".encode()
    finally:
        print(f"stopped at step {step}", file=errors)
