"""The name under which ``worker_class`` was documented before: see :mod:`geventwsgi.worker.worker`."""

from geventwsgi.worker.worker import Worker as Worker  # noqa: PLC0414 - for others
