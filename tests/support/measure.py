"""``coverage run`` in the way that suits the interpreter: ``python measure.py -m pytest ...``.

From 3.12 on, ``sys.monitoring`` sees every thread and greenlet at little cost. Before, coverage's tracer must be told
that frames change with greenlets, and then leaves threads out. pyproject.toml reads the two variables, as do the
processes that tests start.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    monitoring = sys.version_info >= (3, 12)
    os.environ["COVERAGE_CORE"] = "sysmon" if monitoring else "ctrace"
    os.environ["COVERAGE_CONCURRENCY"] = "thread" if monitoring else "gevent"
    os.execv(sys.executable, [sys.executable, "-m", "coverage", "run", *sys.argv[1:]])
