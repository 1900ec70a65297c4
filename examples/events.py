"""Server-sent events: a page that shows the server's clock, and the stream that feeds it.

    gwsgi --workers 2 events:app

Each open page costs a greenlet, not a thread. Every chunk that the iterable yields leaves at once.
"""

import itertools
import time
from urllib.parse import parse_qs

PAGE = b"""<!doctype html>
<title>Clock</title>
<p id="clock">...</p>
<script>
new EventSource("/events").onmessage = event => { document.getElementById("clock").textContent = event.data }
</script>
"""


def app(environ, start_response):
    if environ["PATH_INFO"] != "/events":
        start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(PAGE)))])
        return [PAGE]
    interval = float(parse_qs(environ["QUERY_STRING"]).get("interval", ["1"])[0])
    # X-Accel-Buffering tells nginx to pass each event on.
    headers = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")]
    start_response("200 OK", headers)
    return ticks(interval)


def ticks(interval):
    """Yield an event at each interval until the client goes: then the server closes this generator."""
    for number in itertools.count():
        yield f"id: {number}\ndata: {time.strftime('%H:%M:%S')}\n\n".encode()
        time.sleep(interval)
