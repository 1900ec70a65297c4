"""The program: ``gwsgi``, or ``python -m geventwsgi`` where that is not on the path."""

from __future__ import annotations

from geventwsgi.collector import uncollected

with uncollected():
    from geventwsgi.cli import main_and_exit

if __name__ == "__main__":
    main_and_exit()
