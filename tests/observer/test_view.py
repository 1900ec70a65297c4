"""What the observer tells of a server."""

from __future__ import annotations

import json
import os
import time

from geventwsgi.config.settings import SETTINGS
from geventwsgi.config.sources import Config
from geventwsgi.observe.tally import Tallies
from geventwsgi.observer.view import View
from geventwsgi.system.shared import SharedSlots


def view(slots=None, **settings):
    cfg = Config.of(**settings)
    return View(7, time.monotonic() - 5, cfg, ["http://a:1"], slots or SharedSlots(4), lambda _: None, "/tmp/none")


def test_workers_are_those_that_the_master_has_introduced_oldest_first():
    slots = SharedSlots(4)
    first, second, third = slots.take(), slots.take(), slots.take()
    slots.release(first)
    second.introduce(200, 9, time.monotonic_ns() - 3_000_000_000, "ready")
    second.count(2, 5)
    second.count_served(40)
    third.introduce(300, 4, time.monotonic_ns(), "leaving")
    slots.take().beat()  # of a worker that was just forked
    (old, young) = view(slots).workers()
    assert (old["pid"], old["number"], old["stage"], old["beats"]) == (300, 4, "leaving", 0)
    assert 3 <= young.pop("age") < 60
    assert young == {
        "pid": 200, "number": 9, "stage": "ready", "requests": 2, "connections": 5, "served": 40, "beats": 0,
    }  # fmt: skip


def test_master_and_its_observer():
    status = view().status()
    assert status["master"]["pid"] == 7
    assert 5 <= status["master"]["uptime"] < 60
    assert status["observer"] == {"pid": os.getpid()}
    assert status["listeners"] == ["http://a:1"]


def test_totals_are_told_where_anything_is_counted():
    assert view().status()["totals"] == {}
    tallies = Tallies(4, [1])
    tally = tallies.of(0)
    tally.request("GET", 200, 0.5, 30)
    tally.received(70)
    tally.add("accepted", "", 2)
    told = view()._replace(tallies=tallies).status()["totals"]
    assert told == {"requests": 1, "received": 70, "sent": 30, "connections": 2}


def test_every_setting_with_an_effect_is_shown_with_its_source():
    settings = view(workers=3, pre_request=print).settings()
    assert set(settings) == {setting.name for setting in SETTINGS if setting.effective}
    assert settings["workers"] == {"value": 3, "source": "argument"}
    assert settings["pre_request"]["value"] == "builtins.print"
    assert settings["pidfile"] == {"value": None, "source": "default"}
    json.dumps(settings)


def test_values_that_may_be_passwords_are_not_shown():
    settings = view(raw_env=["A=secret", "B=x=secret"], raw_paste_global_conf=["db=secret"]).settings()
    assert settings["raw_env"]["value"] == ["A=...", "B=..."]
    assert "secret" not in json.dumps(settings)
