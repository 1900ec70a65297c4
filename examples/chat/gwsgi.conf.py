"""Settings for the chat: gwsgi --config gwsgi.conf.py chat:app."""

workers = 2
wsgi_websocket = True
