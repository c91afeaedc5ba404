"""Whether processes of this machine have ended."""

import signal
import subprocess

import pytest

from learner.service.lease import process_ended, process_name
from tests.conftest import wait_until


@pytest.mark.skipif(not process_name(), reason="needs Linux's /proc")
def test_a_process_has_ended_from_its_death_on_even_before_it_is_waited_for():
    process = subprocess.Popen(["sleep", "60"])
    name = process_name(process.pid)
    assert not process_ended(name)
    process.send_signal(signal.SIGSTOP)
    assert not process_ended(name)
    process.kill()
    wait_until(lambda: process_ended(name))
    process.wait()
    assert process_ended(name)
