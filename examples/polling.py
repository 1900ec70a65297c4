"""A message board by long-poll, in Flask: a request that waits has no greenlet, and its answer is an ordinary view's.

    gwsgi --workers 2 polling:app

POST a text to /, and ask for what is new with the place of the last answer: /?after=PLACE
"""

from flask import Flask, jsonify, request

from geventwsgi.events import Channel, poll

app = Flask(__name__)
board = Channel("board")


@app.post("/")
def say():
    board.publish(request.get_data(as_text=True)[:2000])
    return "", 204


@app.get("/")
def news():
    polled = poll(request.environ, board, after=request.args.get("after"), timeout=25)
    if polled is None:
        return "", 204  # is not sent: this view is called again when there is something
    return jsonify(messages=[message.data for message in polled.messages], after=polled.position)
