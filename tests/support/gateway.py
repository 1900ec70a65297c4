"""Run an application through the real gateway over a fake exchange, and keep everything that came out."""

from __future__ import annotations

import importlib
import logging
from io import StringIO
from typing import TYPE_CHECKING, Any

from geventwsgi.config.sources import Config
from geventwsgi.wsgi.environ import EnvironBuilder
from geventwsgi.wsgi.gateway import Gateway
from tests.support.fake_exchange import FakeExchange

if TYPE_CHECKING:
    from geventwsgi.observe.access import Record


def make_base(**keys: Any) -> dict[str, Any]:
    """Return what a server puts into every environ; ``wsgi.errors`` is a StringIO."""
    return {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_SOFTWARE": "geventwsgi/test",
        "SCRIPT_NAME": "",
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.errors": StringIO(),
        **keys,
    }


def environ_builder(base: dict[str, Any], **options: Any) -> EnvironBuilder:
    """Return what makes environs as the settings' defaults have it, but for some options."""
    cfg = Config.of()
    return EnvironBuilder(base, **{"header_map": cfg.header_map, "forwarder_headers": cfg.forwarder_headers, **options})


class Outcome(logging.Handler):
    """An exchange that was run, the log lines and the access records."""

    def __init__(self, exchange: FakeExchange) -> None:
        super().__init__()
        self.exchange = exchange
        self.log: list[logging.LogRecord] = []
        self.records: list[Record] = []
        self.base = make_base()

    def emit(self, record: logging.LogRecord) -> None:
        self.log.append(record)

    @property
    def errors(self) -> list[str]:
        """The lines at error level and above, tracebacks included."""
        formatter = logging.Formatter()
        return [formatter.format(record) for record in self.log if record.levelno >= logging.ERROR]

    @property
    def debug_lines(self) -> list[str]:
        """The lines at debug level."""
        return [record.getMessage() for record in self.log if record.levelno == logging.DEBUG]

    @property
    def record(self) -> Record:
        """The access record; there must be exactly one."""
        (record,) = self.records
        return record


def run(
    application: Any,
    exchange: FakeExchange | str | None = None,
    *,
    record: bool = True,
    base: Any = None,
    builder: EnvironBuilder | None = None,
    **options: Any,
) -> Outcome:
    """Run one exchange and check that the Protocol was kept.

    :param exchange: a FakeExchange, or a request's text; a plain GET by default.
    :param record: whether access records are wanted.
    :param base: keys to add to :func:`make_base`.
    :param builder: makes the environ instead of one over ``base``.
    :param options: the Gateway's.
    """
    if not isinstance(exchange, FakeExchange):
        exchange = FakeExchange(exchange) if exchange else FakeExchange()
    outcome = Outcome(exchange)
    outcome.base.update(base or {})
    log = logging.Logger("test", logging.DEBUG)  # noqa: LOG001 - one per run, known to nobody else
    log.addHandler(outcome)
    if record:
        options.setdefault("on_record", outcome.records.append)
    gateway = Gateway(application, builder or environ_builder(outcome.base), log, **options)
    try:
        gateway.run(exchange)
    except BaseException as error:
        error.outcome = outcome  # for the test to read
        raise
    finally:
        exchange.check()
    return outcome


def load(name: str) -> Any:
    """Return the application of ``tests/support/apps/NAME.py``."""
    return importlib.import_module(f"tests.support.apps.{name}").application
