"""What an operator asks of a running server, from a terminal: ``gwsgi status``, ``top`` and others."""
