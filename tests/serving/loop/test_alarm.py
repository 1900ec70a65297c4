"""How greenlets sleep: as gevent has it, and by the compiled core, which must do the same."""

from __future__ import annotations

import random
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import gevent
import gevent.exceptions
import gevent.hub
import greenlet
import pytest

from geventwsgi.serving.loop.rounds import Round

#: gevent's own, whatever may have taken its place.
gevents_own = gevent.hub.sleep


SLEEPS = {"gevent": lambda: gevents_own, "compiled": lambda: alarm_clock().sleep}


@pytest.fixture(params=SLEEPS)
def sleep(request):
    return SLEEPS[request.param]()


def alarm_clock():
    module = pytest.importorskip("geventwsgi.serving.loop._alarm", reason="the compiled core is not built")
    return module.AlarmClock(gevent.get_hub(), Round())


def test_sleeps_at_least_so_long(sleep):
    for seconds in (0.03, 1e-6, 0.001):
        begin = time.monotonic()
        sleep(seconds)
        assert time.monotonic() - begin >= seconds


def test_whoever_is_due_first_wakes_first():
    """gevent keeps to that less strictly."""
    sleep, chance, woken = alarm_clock().sleep, random.Random(1), []

    def one(seconds):
        due = time.monotonic() + seconds
        sleep(seconds)
        woken.append(due)

    sleepers = [gevent.spawn(one, 0.5 * chance.random()) for _ in range(500)]
    gevent.joinall(sleepers, raise_error=True, timeout=30)
    assert len(woken) == 500
    for earlier, later in pairwise(woken):
        assert later > earlier - 0.05  # between the test's look at the clock and the sleep's


@pytest.mark.parametrize("seed", range(5))
def test_whoever_is_killed_leaves_and_the_others_sleep_on(sleep, seed):
    chance = random.Random(seed)
    woken = {}

    def one(number, seconds):
        begin = time.monotonic()
        sleep(seconds)
        woken[number] = time.monotonic() - begin >= seconds

    killed = set(chance.sample(range(300), 150))
    sleepers = [gevent.spawn(one, number, 60 * (number in killed) + 0.2 * chance.random()) for number in range(300)]
    gevent.sleep(0.01)
    for number in killed:
        sleepers[number].kill(block=False)
    gevent.joinall(sleepers, raise_error=True, timeout=30)
    assert woken == dict.fromkeys(set(range(300)) - killed, True)


def test_a_greenlet_that_wants_to_know_that_it_is_left_is_told(sleep):
    class Curious(gevent.Greenlet):
        times = 0

        def switch_out(self):
            self.times += 1

    curious = Curious(sleep, 0.001)
    for one in (gevent.spawn(sleep, 0.001), curious):
        one.start()
        one.get(timeout=5)
    assert curious.times == 1


def test_a_timeout_ends_it(sleep):
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        sleep(60)
    sleep(0.001)


def test_sleeps_again_and_again(sleep):
    def one():
        for _ in range(50):
            sleep(0.001)
        return True

    sleepers = [gevent.spawn(one) for _ in range(20)]
    gevent.joinall(sleepers, raise_error=True, timeout=30)
    assert all(sleeper.value for sleeper in sleepers)


def test_a_switch_by_somebody_else_is_an_error_and_the_only_wake(sleep):
    ended = []

    def one():
        with pytest.raises(gevent.exceptions.InvalidSwitchError, match="'who'"):
            sleep(0.01)
        ended.append(1)
        gevent.sleep(0.05)
        ended.append(2)

    sleeper = gevent.spawn(one)
    gevent.sleep(0)
    gevent.get_hub().loop.run_callback(sleeper.switch, "who")
    sleeper.get(timeout=10)
    assert ended == [1, 2]


def test_what_the_greenlet_raises_is_reported_and_the_next_wakes(sleep, monkeypatch):
    """Of one that gevent does not know, as it reports its own itself."""
    hub, reported = gevent.get_hub(), []
    monkeypatch.setattr(hub, "handle_error", lambda context, kind, *_: reported.append(kind), raising=False)

    def one():
        sleep(0.02)
        raise ZeroDivisionError

    hub.loop.run_callback(greenlet.greenlet(one, parent=hub).switch)
    gevent.spawn(sleep, 0.02).get(timeout=10)
    gevent.sleep(0.02)
    assert reported == [ZeroDivisionError]


def test_nothing_keeps_a_greenlet_that_has_slept(sleep):
    sleeper = gevent.spawn(sleep, 0.001)
    sleeper.get(timeout=10)
    killed = gevent.spawn(sleep, 60)
    gevent.sleep(0)
    killed.kill()
    ended = [weakref.ref(sleeper), weakref.ref(killed)]
    del sleeper, killed
    gevent.sleep(0.001)
    assert [one() for one in ended] == [None, None]


@pytest.mark.parametrize("kind", ["gevent", "compiled"])
def test_the_loop_has_nothing_to_wait_for_once_nobody_sleeps(kind):
    def elapsed():
        sleep = gevents_own if kind == "gevent" else alarm_clock().sleep
        killed = gevent.spawn(sleep, 60)
        gevent.sleep(0)
        killed.kill()
        begin = time.monotonic()
        gevent.wait(timeout=30)
        return time.monotonic() - begin

    # A loop of its own: another test may have left something in the process's, for which it waits.
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(elapsed).result() < 15


@pytest.mark.parametrize("kind", SLEEPS)
def test_the_loop_goes_on_while_somebody_sleeps(kind):
    """In a thread, whose loop has nothing else to do."""

    def outlasts_a_sleeper():
        sleeper = gevent.spawn(SLEEPS[kind](), 0.05)
        gevent.wait()
        return sleeper.ready()

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(outlasts_a_sleeper).result(timeout=30)


@pytest.mark.parametrize("seconds", [0, -1, 0.0])
def test_no_time_lets_others_run_once(sleep, seconds):
    ran = []
    gevent.spawn(ran.append, 1)
    sleep(seconds)
    assert ran == [1]


@pytest.mark.parametrize("seconds", ["1", None, b"", 1j])
def test_what_is_no_number_is_a_type_error(sleep, seconds):
    with pytest.raises(TypeError):
        sleep(seconds)


def test_forever_ends_when_somebody_says_so():
    """libev has no forever."""
    sleeper = gevent.spawn(alarm_clock().sleep, float("inf"))
    with gevent.Timeout(0.05, False):
        sleeper.join()
    assert not sleeper.ready()
    sleeper.kill(timeout=10)
    assert sleeper.ready()


def test_a_sleep_that_nobody_waits_for(sleep):
    """``ref=False``: the loop may end before it does."""
    loop = gevent.get_hub().loop
    gevent.sleep(0)
    before = loop.activecnt
    sleeper = gevent.spawn(sleep, 60, ref=False)
    gevent.sleep(0)
    assert loop.activecnt == before
    sleeper.kill()


def test_the_hub_itself_cannot_sleep(sleep):
    caught = []

    def one():
        try:
            sleep(0.01)
        except gevent.exceptions.BlockingSwitchOutError as error:
            caught.append(error)

    gevent.get_hub().loop.run_callback(one)
    gevent.sleep(0.05)
    assert len(caught) == 1


def test_another_thread_sleeps_in_its_own_loop(sleep):
    slept = []

    def one():
        begin = time.monotonic()
        gevent.joinall([gevent.spawn(sleep, 0.02) for _ in range(3)], raise_error=True)
        slept.append(time.monotonic() - begin)
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=one)
    thread.start()
    thread.join(30)
    assert len(slept) == 1
    assert slept[0] >= 0.02


def test_no_reference_is_lost_or_kept():
    clock, me = alarm_clock(), greenlet.getcurrent()

    def references():
        gevents_own(0.001)  # the hub is done with whom it has woken
        return sys.getrefcount(clock), sys.getrefcount(me)

    before = references()
    for _ in range(1000):
        clock.sleep(1e-9)
    assert references() == before
