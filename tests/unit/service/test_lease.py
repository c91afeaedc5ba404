"""Signs of life: how they are given, and when they are missed."""

import threading
import time
from types import SimpleNamespace

import pytest

from learner.errors import FencedError
from learner.service.lease import Heart, Silence, process_ended, process_name
from tests.conftest import wait_until


@pytest.mark.skipif(not process_name(), reason="needs Linux's /proc")
def test_another_process_with_the_same_number_is_another_process():
    boot, space, pid, start = process_name().rsplit(" ", 3)
    assert not process_ended(process_name())
    assert process_ended(f"{boot} {space} {pid} {int(start) - 1}")
    assert process_ended(f"{boot} {space} {10**30} 1")
    assert not process_ended(f"{boot} {space} ² 1")


def test_of_processes_elsewhere_nothing_is_known():
    assert not process_ended("")
    assert not process_ended("another-boot pid:[1] 999999 1")


def test_silence_is_counted_from_the_last_change_of_the_sign():
    silence = Silence()
    assert silence.seconds("a", 0.0) == 0.0
    assert silence.seconds("a", 3.0) == 3.0
    assert silence.seconds("b", 9.0) == 0.0
    assert silence.seconds("a", 10.0) == 0.0


def heart_threads() -> int:
    return sum(thread.name == "heartbeat" for thread in threading.enumerate())


def test_a_heart_beats_until_an_owner_is_removed_or_may_not_go_on():
    beats, n_before = [], heart_threads()

    def beat(seconds):
        beats.append(seconds)
        if len(beats) == 3:
            raise FencedError("replaced")

    heart = Heart()
    replaced = heart.add(SimpleNamespace(beat=beat), 0.01)
    wait_until(lambda: replaced.problem)
    assert str(replaced.problem) == "replaced"
    assert beats == [0.005] * 3
    other = heart.add(SimpleNamespace(beat=lambda seconds: None), 10.0)
    assert heart_threads() == n_before + 1
    heart.remove(other)
    heart.remove(replaced)
    wait_until(lambda: heart_threads() == n_before)
    assert len(beats) == 3


def test_one_thread_beats_for_all_and_each_owner_keeps_its_own_trouble():
    heart, n_before = Heart(), heart_threads()
    times = {"fast": [], "slow": [], "broken": []}

    def broken(seconds):
        times["broken"].append(seconds)
        raise ZeroDivisionError

    def slow(seconds):
        times["slow"].append(seconds)
        time.sleep(0.02)  # longer than its own interval: its next beat is due at once

    heartbeats = [
        heart.add(SimpleNamespace(beat=broken), 0.01),
        heart.add(SimpleNamespace(beat=slow), 0.01),
        heart.add(SimpleNamespace(beat=lambda seconds: times["fast"].append(seconds)), 0.05),
    ]
    wait_until(lambda: len(times["fast"]) >= 5 and len(times["slow"]) >= 5)
    assert heart_threads() == n_before + 1
    assert isinstance(heartbeats[0].problem, ZeroDivisionError)
    assert (len(times["broken"]), heartbeats[1].problem, heartbeats[2].problem) == (1, None, None)
    assert times["fast"][-1] == 0.0125  # two owners share half a lease
    for heartbeat in heartbeats:
        heart.remove(heartbeat)
    wait_until(lambda: heart_threads() == n_before)


def test_an_owner_is_removed_once_its_beat_is_over():
    heart, beating, over = Heart(), threading.Event(), []

    def beat(seconds):
        beating.set()
        time.sleep(0.1)
        over.append(True)

    heartbeat = heart.add(SimpleNamespace(beat=beat), 5.0)
    assert beating.wait(10)
    heart.remove(heartbeat)
    assert over == [True]
