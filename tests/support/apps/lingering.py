"""An application that starts what does not end by itself, as it is imported."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

if os.environ["LEAVES"] == "thread":
    threading.Thread(target=lambda: [time.sleep(0.1) for _ in iter(int, 1)]).start()
else:
    executor = ThreadPoolExecutor(2)
    executor.submit(time.sleep, 60)


def application(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]
