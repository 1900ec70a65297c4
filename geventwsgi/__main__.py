"""``python -m geventwsgi``: the command ``gwsgi`` where it is not on the path."""

from __future__ import annotations

from geventwsgi.cli import main_and_exit

if __name__ == "__main__":
    main_and_exit()
