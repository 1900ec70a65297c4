"""What an application asks of the workers as a whole: work that one of them does, and work that a worker finishes."""

from geventwsgi.workers.singleton import once
from geventwsgi.workers.tasks import background

__all__ = ["background", "once"]
