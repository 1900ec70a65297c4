"""Options of the test run."""

from __future__ import annotations


def pytest_addoption(parser):
    parser.addoption("--byte-streams", type=int, default=2000, help="hostile byte streams sent to a real worker")
