"""The worker's command: what it prints, and how it exits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest
from click.testing import CliRunner

from learner.client import Client
from learner.commands import main
from learner.errors import StoreError
from learner.service.store import Store
from tests.conftest import state_bytes, wait_until
from tests.streams import GOOD, KEYS, push_batches, zipf_examples

PROGRAM = str(Path(__file__).parents[2] / "worker.py")


def test_burst_learns_what_is_there_and_exits(client, redis_url, create, start, committed):
    undisturbed = create()
    examples = zipf_examples(2000, 8, 9)
    push_batches(client, "batch", examples, 10)
    process = start(redis_url, "worker", "m", "--burst", "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    undisturbed.learn_packed(b"".join(examples))
    undisturbed.learn_held()
    assert state_bytes(committed()) == state_bytes(undisturbed)
    figures = json.loads(out)
    assert (figures["model"], figures["examples"], figures["rejected"]) == ("m", 2000, 0)
    assert figures["progressive_loss"] == undisturbed.progressive_loss
    assert Store(client, "m").status()["owner"] == {"epoch": "1"}


def ended(client) -> "tuple[str, int, str]":
    """How the last of the model's processes ended, as status tells it: state, exit code, the beginning of the reason."""
    worker = Store(client, "m").status()["workers"][-1]
    return worker["state"], worker["code"], worker["reason"][:25]


def test_worker_py_does_the_same_as_the_command(client, redis_url, create, start, committed):
    undisturbed = create()
    examples = zipf_examples(300, 8, 9)
    push_batches(client, "batch", examples, 10)
    process = start(redis_url, "m", "--burst", program=(PROGRAM,))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, ""), err
    undisturbed.learn_packed(b"".join(examples))
    undisturbed.learn_held()
    assert state_bytes(committed()) == state_bytes(undisturbed)


@pytest.mark.parametrize("program", [("-m", "learner", "worker"), (PROGRAM,)])
def test_no_model_and_no_server_are_one_line_and_exit_code_2(redis_url, start, program):
    for url, words in ((redis_url, "model 'm' does not exist"), ("redis://127.0.0.1:1/0", "127.0.0.1:1")):
        process = start(url, "m", "--burst", program=program)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, len(err.splitlines())) == (2, "", 1), err
        assert err.startswith("Error: ")
        assert words in err


def test_a_stream_that_was_deleted_stops_the_worker_which_says_so(client, redis_url, create, own, drain, start):
    create()
    client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
    drain()
    client.delete(KEYS.examples)
    with pytest.raises(StoreError, match="before the last entry learned"):
        own(lease_seconds=0.1).run(burst=True)
    process = start(redis_url, "worker", "m", "--burst")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "it was deleted, or the server went back to older data" in err
    assert ended(client) == ("stopped", 2, "stream learner:{m}:exampl")


def test_a_stream_that_is_deleted_under_a_worker_stops_it_with_one_line(client, redis_url, create, start_worker):
    create()
    worker = start_worker(redis_url, "m", "--commit-seconds", "0.3", "--stop-on-trouble")
    client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
    wait_until(lambda: client.exists(KEYS.head))
    client.delete(KEYS.examples)
    client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
    _, err = worker.communicate(timeout=15)
    assert worker.returncode == 2
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1  # beside the hello, which is read already
    assert ended(client) == ("stopped", 2, "stream learner:{m}:exampl")


def test_figures_are_json_even_before_the_first_example(create, redis_url, start):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    create()
    out, err = start(redis_url, "worker", "m", "--burst", "--json").communicate(timeout=60)
    assert json.loads(out, parse_constant=refuse)["examples"] == 0, err


def test_the_command_exits_with_5_and_says_what_to_do(client, redis_url, create, start):
    create(featurizer="place")
    client.xadd(KEYS.examples, {"records": msgpack.packb([1, {"latitude": 1}]) * 300})
    process = start(redis_url, "worker", "m", "--burst", "--rejected-window", "200", "--max-rejected", "0.1")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 5
    words = "stopped with code 5: examples rejected must be at most a share of 0.1 (got 300 of the last 300)"
    assert words in err.splitlines()[-1]
    assert ended(client) == ("stopped", 5, "examples rejected must be")
    assert "field 'lat' is required" in err
    assert "learner set m max_rejected=1" in err
    assert client.xlen(KEYS.examples) == 1
    assert not client.exists(KEYS.rejected)


def test_the_command_waits_too(client, redis_url, create, start_worker, tmp_path):
    create()
    (tmp_path / "x.msgpack").write_bytes(GOOD * 10_000)
    process = start_worker(redis_url, "m", "--commit-seconds", "0.02")
    runner = CliRunner(env={"REDIS_URL": redis_url})
    result = runner.invoke(main, ["push", "m", str(tmp_path / "x.msgpack"), "--max-lag", "0", "--json"])
    assert json.loads(result.stdout)["pushed"] == 10_000
    assert Client("m", redis_url).lag() <= 20
    wait_until(lambda: Client("m", redis_url).lag() == 0)
    process.terminate()
    assert process.wait(10) == 0


@pytest.mark.parametrize("where", ["current folder", "PYTHONPATH"])
def test_a_user_s_own_modules_of_the_same_names_do_not_get_in_the_way(
    client, redis_url, create, start, committed, tmp_path, monkeypatch, where
):
    create()
    client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
    for name in ("worker.py", "featurizers.py", "tests.py"):
        (tmp_path / name).write_text("raise RuntimeError('this is the user s own')\n")
    path = os.environ.get("PYTHONPATH", str(Path(PROGRAM).parent))
    monkeypatch.setenv("PYTHONPATH", path if where == "current folder" else f"{tmp_path}:{path}")
    if where == "current folder":
        monkeypatch.chdir(tmp_path)
    _, err = start(redis_url, "worker", "m", "--burst").communicate(timeout=60)
    assert "own" not in err
    assert committed().n_examples == 1


def test_a_script_is_told_of_a_file_that_hides_the_package(tmp_path):
    for name in ("featurizers.py", "worker.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "script.py").write_text("from learner import Model\n")
    run = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"hidden by {tmp_path / 'featurizers.py'}: rename that file" in run.stderr
    (tmp_path / "featurizers.py").unlink()
    subprocess.run([sys.executable, "script.py"], cwd=tmp_path, check=True)
