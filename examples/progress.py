"""A progress bar: the page follows a piece of work on the server by server-sent events, with a finish.

    gwsgi progress:app

The work is begun by one request and goes on in its worker, whoever looks. Each piece of work has a channel, which keeps
its messages: a page that comes later, or comes back, sees all of them, whichever worker has its request. A page that
waits has no greenlet.
"""

import json
import re
import secrets
import time

from geventwsgi.events import Channel, EventStream, last_event_id
from geventwsgi.workers import background

PAGE = b"""<!doctype html>
<title>Progress</title>
<progress id="bar" max="100" value="0"></progress> <span id="result"></span>
<script>
async function begin() {
  const answer = await fetch("work", {method: "POST"})
  const source = new EventSource("work?" + (await answer.json()).id)
  source.onmessage = event => {
    const {percent, result} = JSON.parse(event.data)
    document.getElementById("bar").value = percent
    if (result) {
      document.getElementById("result").textContent = result
      source.close()  // or the browser would come back
    }
  }
}
begin()
</script>
"""
STEPS = 20
STEP = 0.1


def app(environ, start_response):
    if environ["PATH_INFO"] != "/work":
        start_response("200 OK", [("Content-Type", "text/html")])
        return [PAGE]
    if environ["REQUEST_METHOD"] == "POST":
        job = secrets.token_hex(8)
        background(work, channel_of(job))
        start_response("201 Created", [("Content-Type", "application/json")])
        return [json.dumps({"id": job}).encode()]
    if not re.fullmatch("[0-9a-f]{16}", environ["QUERY_STRING"]):
        start_response("404 Not Found", [])
        return []
    # From the first message on, unless the browser has seen some.
    progress = channel_of(environ["QUERY_STRING"]).subscribe(after=last_event_id(environ) or "")
    return EventStream(environ, progress)(environ, start_response)


def channel_of(job):
    return Channel(f"work {job}")


def work(progress):
    for step in range(1, STEPS):
        time.sleep(STEP)  # a part of the work
        progress.publish({"percent": 100 * step // STEPS})
    time.sleep(STEP)
    progress.publish({"percent": 100, "result": "finished"})
