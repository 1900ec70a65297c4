"""The client manager of Socket.IO, without a server."""

from __future__ import annotations

import os

import pytest


def test_workers_that_were_forked_with_one_manager_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """With preload_app; else each would take the others' messages for its own, which it has delivered already."""
    pytest.importorskip("socketio")
    from geventwsgi.workers.socketio_manager import ChannelManager

    manager = ChannelManager(write_only=True)
    here = manager.host_id
    assert manager.host_id == here
    monkeypatch.setattr(os, "getpid", lambda: 7)
    assert manager.host_id != here
