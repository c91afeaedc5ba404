"""Whether a worker is alive and ready, from what status says of it."""

import os
import re

import pytest

from learner.service.lease import process_name
from learner.service.liveness import live, owner_silence, ready

NOW = 1_000_000.0
PROCESS = process_name()
NOTE = {"state": "running", "host": "h", "pid": os.getpid(), "process": PROCESS, "silent": 1.0}
OWNER = {"worker": "t", "host": "h", "pid": str(os.getpid()), "process": PROCESS, "since": f"{NOW - 900}", "lease": "5"}
WELL = {
    "now": NOW,
    "owner": OWNER,
    "workers": [NOTE],
    "trouble": None,
    "lag_entries": 3,
    "committed": NOW - 2.0,
    "request_age": None,
}
ENDED = " ".join([*PROCESS.split()[:2], "4194305", "1"])  # above the largest process id


def test_a_worker_that_answers_and_learns_is_live_and_ready():
    assert live(WELL) == (True, f"process {os.getpid()} on h is running")
    assert ready(WELL, 3, 60.0) == (True, f"process {os.getpid()} on h learns and answers, 3 entries wait")
    assert owner_silence(WELL) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"owner": {}, "workers": []}, "no worker owns the model"),
        ({"owner": {}, "workers": [NOTE | {"state": "starting"}]}, "no worker owns the model: process .* is starting"),
        pytest.param(
            {"owner": OWNER | {"process": ENDED}},
            "is dead",
            marks=pytest.mark.skipif(not PROCESS, reason="needs Linux's /proc"),
        ),
        ({"owner": OWNER | {"trouble": "stream gone"}}, "only answers: stream gone"),
        ({"workers": [NOTE | {"state": "waiting"}]}, "is waiting"),
        ({"workers": [NOTE | {"silent": 16.0}]}, "is running, silent for 16 s"),
        ({"trouble": "key holds no stream"}, "key holds no stream"),
        ({"lag_entries": 4}, "4 entries wait to be learned, more than 3"),
        ({"committed": NOW - 61.0}, "3 entries wait, and for 61 s nothing was committed, longer than 60 s"),
        ({"committed": None}, "for 900 s nothing was committed"),
        ({"request_age": 61.0}, "a request waits for 61 s"),
    ],
)
def test_what_keeps_an_owner_from_being_ready_is_said(change, words):
    is_ready, reason = ready(WELL | change, 3, 60.0)
    assert not is_ready
    assert re.search(words, reason)


@pytest.mark.parametrize(
    "change",
    [
        {"lag_entries": 0, "committed": NOW - 999.0},  # nothing waits
        {"committed": NOW - 999.0, "owner": OWNER | {"since": f"{NOW - 5.0}"}},  # it has just taken over
        {"workers": []},  # the access rules allow no notes
        {"workers": [NOTE | {"silent": 16.0}], "owner": OWNER | {"lease": "60"}},  # which beats every 12 s
        {"workers": [NOTE | {"silent": 99.0, "state": "starting"}, NOTE]},  # two models' worth of one process
    ],
)
def test_what_does_not_keep_an_owner_from_being_ready(change):
    assert ready(WELL | change, 3, 60.0)[0]


@pytest.mark.parametrize(
    ("state", "silent", "is_live"),
    [
        ("starting", 500.0, True),  # compiling gives no signs of life
        ("starting", 700.0, False),
        ("waiting", 10.0, True),
        ("waiting", 20.0, False),
        ("answering_only", 10.0, True),
        ("stopped", 0.0, False),
        ("dead", 0.0, False),
    ],
)
def test_signs_of_life_by_state(state, silent, is_live):
    status = WELL | {"owner": {}, "workers": [NOTE | {"state": state, "silent": silent}]}
    assert live(status)[0] == is_live
    assert live(status, host="h")[0] == is_live
    assert live(status, host="elsewhere") == (False, "no process works for the model on elsewhere")
