"""A progress bar: the page follows a piece of work on the server by server-sent events, with a finish.

    gwsgi progress:app

EventStream takes any iterable of events. While it yields nothing, comments keep the connection alive; when the client
leaves, it is closed, and its work with it.
"""

import time

from geventwsgi.events import Event, EventStream

PAGE = b"""<!doctype html>
<title>Progress</title>
<progress id="bar" max="100" value="0"></progress> <span id="result"></span>
<script>
const source = new EventSource("work")
source.onmessage = event => { document.getElementById("bar").value = event.data }
source.addEventListener("done", event => {
  document.getElementById("result").textContent = event.data
  source.close()  // or the browser would begin anew
})
</script>
"""
STEPS = 20
STEP = 0.1


def app(environ, start_response):
    if environ["PATH_INFO"] == "/work":
        return EventStream(environ, work())(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/html")])
    return [PAGE]


def work():
    for step in range(1, STEPS + 1):
        time.sleep(STEP)  # a part of the work
        yield Event(str(100 * step // STEPS))
    yield Event("finished", event="done")
