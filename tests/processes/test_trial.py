"""How functions end their processes."""

import os
import signal
import time

from learner.service.trial import run_in_child


def test_the_death_of_a_child_is_named():
    assert run_in_child(lambda: None, 10) is None
    assert run_in_child(lambda: os.kill(os.getpid(), signal.SIGKILL), 10) == "SIGKILL"
    assert run_in_child(lambda: 1 / 0, 10) == "an error that nothing caught"
    assert run_in_child(lambda: time.sleep(60), 0.1) == "no end within 0.1 s"
