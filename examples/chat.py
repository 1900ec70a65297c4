"""A chat by long-poll: a GET waits until somebody says something.

    gwsgi --workers 1 chat:app

``POST /?name=ann`` says its body; ``GET /?after=N`` answers with the messages after number N, waiting up to 30 seconds
for the first one. The messages are in the process's memory, hence one worker: it holds thousands of waiting clients,
each a greenlet. Several workers would need a common place, such as Redis.
"""

import json
import threading
from urllib.parse import parse_qs

WAIT = 30

messages = []
news = threading.Condition()


def app(environ, start_response):
    query = {name: values[-1] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    if environ["REQUEST_METHOD"] == "POST":
        text = environ["wsgi.input"].read().decode("utf-8", "replace")
        return reply(start_response, "201 Created", say(query.get("name", "somebody"), text))
    after = query.get("after", "0")
    if not after.isdecimal():
        return reply(start_response, "400 Bad Request", {"error": "after is a number"})
    return reply(start_response, "200 OK", hear(int(after)))


def say(name, text):
    """Add a message and wake all who wait."""
    with news:
        message = {"number": len(messages) + 1, "name": name, "text": text}
        messages.append(message)
        news.notify_all()
    return message


def hear(after):
    """Return the messages after a number, waiting for one if there is none yet."""
    with news:
        news.wait_for(lambda: len(messages) > after, timeout=WAIT)
        return messages[after:]


def reply(start_response, status, value):
    body = json.dumps(value).encode() + b"\n"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
