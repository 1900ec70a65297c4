"""Server-sent events: a page that shows the server's clock, and the stream that feeds it.

    gwsgi --workers 2 events:app

Each open page costs a greenlet, not a thread. EventStream takes any iterable; it ends when the client goes, and when
the server reloads: then the browser comes back by itself.
"""

import itertools
import time
from urllib.parse import parse_qs

from geventwsgi.events import Event, EventStream

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
    return EventStream(environ, ticks(interval))(environ, start_response)


def ticks(interval):
    for number in itertools.count():
        yield Event(time.strftime("%H:%M:%S"), id=str(number))
        time.sleep(interval)
