"""The embedded server: one a folder, found by all, with its data kept."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from learner.errors import ServerError
from learner.service.store import embedded as module
from learner.service.store.connection import client as connect
from learner.service.store.connection import require_version
from learner.service.store.embedded import Embedded, default_folder, find_binary, find_or_start, free_port, temporary
from tests.conftest import wait_until

ROOT = Path(__file__).parents[2]
BINARY = str(find_binary())
FIND = "import sys; from pathlib import Path; from learner.service.store import embedded; "
FIND += "print(embedded.find_or_start(folder=Path(sys.argv[1])))"
RUN = "import sys; from pathlib import Path; from learner.service.store import embedded; "
RUN += "sys.exit(embedded.Embedded(Path(sys.argv[1])).run())"
# the same, with a line once it has started: other processes find the server a moment before
ANNOUNCED = """
import sys
from pathlib import Path
from learner.service.store.embedded import Embedded

class Announced(Embedded):
    def start(self, *arguments, **options):
        url = super().start(*arguments, **options)
        print("started", flush=True)
        return url

sys.exit(Announced(Path(sys.argv[1])).run())
"""


def kill(embedded):
    os.kill(embedded.running()["pid"], signal.SIGKILL)
    wait_until(lambda: not embedded._alive())


def on_path(directory, monkeypatch, script):
    """Put a script on PATH as the only valkey-server there."""
    directory.mkdir()
    binary = directory / "valkey-server"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o700)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


@contextmanager
def ended(folder):
    """Give the folder's server, and leave no process even if a test fails half-way."""
    embedded = Embedded(folder)
    yield embedded
    try:
        embedded.stop()
    except ServerError:
        os.kill(int((folder / "server.pid").read_text()), signal.SIGKILL)
        raise


@pytest.fixture
def embedded(tmp_path):
    with ended(tmp_path / "data") as embedded:
        yield embedded


@pytest.fixture
def other(tmp_path):
    with ended(tmp_path / "other") as other:
        yield other


def test_a_server_is_started_and_answers(embedded):
    with connect(find_or_start(folder=embedded.folder)) as connection:
        assert connection.ping()
        assert require_version(connection) == embedded.running()["version"]


def test_it_keeps_every_change_and_listens_on_loopback_only(embedded):
    with connect(embedded.start()) as connection:
        rules = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}
        for name, value in (rules | {"bind": "127.0.0.1", "protected-mode": "yes"}).items():
            assert connection.config_get(name) == {name: value}


def test_it_refuses_whoever_has_no_password(embedded):
    url = embedded.start()
    with pytest.raises(redis.AuthenticationError):
        connect(f"redis://127.0.0.1:{embedded.running()['port']}").ping()
    assert connect(url).ping()


def test_a_second_find_shares_the_first_ones_server(embedded):
    assert embedded.start() == Embedded(embedded.folder).start()


def test_commands_that_start_at_once_share_one_server_that_outlives_them(embedded):
    command = [sys.executable, "-c", FIND, embedded.folder]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    urls = {process.communicate(timeout=20)[0].strip() for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert urls == {embedded.start()}
    with connect(urls.pop()) as connection:
        assert connection.info()["uptime_in_seconds"] < 20


def test_a_killed_server_is_replaced_and_its_data_is_still_there(embedded):
    url = embedded.start()
    with connect(url) as connection:
        connection.xadd("examples", {"record": "kept"})
    kill(embedded)
    assert embedded.running() is None
    with connect(embedded.start()) as connection:
        assert connection.xlen("examples") == 1
    assert embedded.start() != url


def test_another_server_at_the_dead_ones_port_is_left_alone(embedded, other):
    embedded.start()
    port = embedded.running()["port"]
    kill(embedded)
    with connect(other.start(port)) as stranger, connect(embedded.start()) as ours:
        ours.set("key", "ours")
        assert stranger.dbsize() == 0
        assert stranger.info("stats")["acl_access_denied_auth"] == 0  # it wasn't even asked
    assert embedded.running()["port"] != port


def test_a_record_that_leads_to_another_server_is_not_followed(embedded, other):
    embedded.start()
    other.start()
    record = json.loads((embedded.folder / "server.json").read_text())
    strange = json.loads((other.folder / "server.json").read_text())
    (embedded.folder / "server.json").write_text(json.dumps(record | {k: strange[k] for k in ("port", "password")}))
    with pytest.raises(ServerError, match=r"must be at port \d+ \(got another\)"):
        embedded.start()
    (embedded.folder / "server.json").write_text(json.dumps(record))


def test_a_lost_record_is_said_and_no_second_server_opens_the_data(embedded):
    embedded.start()
    record = (embedded.folder / "server.json").rename(embedded.folder / "elsewhere")
    with pytest.raises(ServerError, match=r"see server\.pid, must have its server\.json"):
        embedded.start()
    record.rename(embedded.folder / "server.json")


def test_a_starter_that_died_half_way_leaves_a_server_that_others_find(embedded):
    url = embedded.start()
    record = embedded.folder / "server.json"
    whole = json.loads(record.read_text())
    record.write_text(json.dumps({key: whole[key] for key in ("port", "password", "binary", "started")}))
    assert embedded.start() == url
    assert json.loads(record.read_text()) == whole


def test_stop_ends_it_with_its_data_on_disk(embedded):
    with connect(embedded.start()) as connection:
        connection.set("key", "value")
    assert embedded.stop()
    assert embedded.running() is None
    assert not (embedded.folder / "server.json").exists()
    assert not embedded.stop()
    with connect(embedded.start()) as connection:
        assert connection.get("key") == b"value"


def test_looking_leaves_no_trace(embedded):
    assert embedded.running() is None
    assert embedded.stop() is False
    assert not embedded.folder.exists()


def test_what_is_told_of_a_server_holds_no_secret(embedded):
    url = embedded.start()
    shown = embedded.running()
    assert set(shown) == {"folder", "port", "binary", "started", "pid", "version"}
    assert json.loads((embedded.folder / "server.json").read_text())["password"] in url
    assert not any(value in url for value in shown.values() if isinstance(value, str))


def test_its_files_are_for_the_user_alone(embedded):
    embedded.start()
    modes = {path.name: path.stat().st_mode & 0o777 for path in [embedded.folder, *embedded.folder.rglob("*")]}
    assert {"server.json", "server.log", "server.alive", "server.pid"} < set(modes)
    folders = {"data", "appendonlydir"}
    assert modes == {name: 0o700 if name in folders else 0o600 for name in modes}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_process_list_and_environment_hold_no_password(embedded):
    embedded.start()
    password = json.loads((embedded.folder / "server.json").read_text())["password"].encode()
    process = Path(f"/proc/{embedded.running()['pid']}")
    assert password not in (process / "cmdline").read_bytes()
    assert password not in (process / "environ").read_bytes()


def test_a_given_url_comes_before_the_environment_and_that_before_the_embedded_server(embedded, monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://environment")
    assert find_or_start("redis://given", embedded.folder) == "redis://given"
    assert find_or_start(folder=embedded.folder) == "redis://environment"
    assert not embedded.folder.exists()
    monkeypatch.setenv("REDIS_URL", "")
    assert find_or_start(folder=embedded.folder) == embedded.start()


def test_the_default_folder_is_in_learner_home(monkeypatch, tmp_path):
    monkeypatch.setenv("LEARNER_HOME", str(tmp_path))
    assert Embedded().folder == tmp_path / "server"
    monkeypatch.delenv("LEARNER_HOME")
    assert default_folder().parts[-2:] == ("learner", "server")


def test_a_binary_that_dies_is_reported_with_its_reason(embedded, tmp_path, monkeypatch):
    script = 'if [ "$1" = --version ]; then echo "Valkey server v=9.0.0 sha=0"; else echo "no luck today"; exit 1; fi'
    on_path(tmp_path / "bin", monkeypatch, script)
    with pytest.raises(ServerError, match="no luck today"):
        embedded.start()
    assert embedded.running() is None


@pytest.mark.parametrize("version", ["Redis server v=6.2.14 sha=0", "Valkey server v=7.2.8 sha=0", "what?"])
def test_a_server_on_path_that_is_too_old_is_passed_over(tmp_path, monkeypatch, version):
    on_path(tmp_path / "bin", monkeypatch, f"echo '{version}'")
    assert find_binary() != tmp_path / "bin" / "valkey-server"
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ServerError, match=r"redis-server >= 7\.0 on PATH|as valkey-server >= 8") as error:
        find_binary()
    assert version in str(error.value)


def test_a_server_that_loads_its_data_is_waited_for(embedded, tmp_path, monkeypatch):
    with connect(embedded.start()) as connection:
        pipeline = connection.pipeline(transaction=False)
        for number in range(15000):  # while it loads, it answers after every 1,024 commands
            pipeline.set(f"key{number}", "value")
        pipeline.execute()
    embedded.stop()
    real = shlex.quote(BINARY)
    slow = f'if [ "$1" = - ]; then (cat; echo key-load-delay 10) | {real} -; else {real} "$@"; fi'
    on_path(tmp_path / "bin", monkeypatch, slow)
    url = embedded.start()
    assert "DB loaded from append only file" in embedded._last_words()
    with connect(url) as connection:
        assert connection.dbsize() == 15000
    assert embedded.running()["binary"] == str(tmp_path / "bin" / "valkey-server")


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_port_that_another_program_was_quicker_to_take_is_replaced(embedded, taken, monkeypatch):
    ports = iter([taken, free_port()])
    monkeypatch.setattr(module, "free_port", lambda: next(ports))
    with connect(embedded.start()) as connection:
        assert connection.ping()
    assert embedded.running()["port"] != taken


def test_a_port_that_was_asked_for_is_not_replaced(embedded, taken):
    with pytest.raises(ServerError, match="Address already in use"):
        embedded.start(taken)


def test_a_folder_that_others_can_write_to_is_refused(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ServerError, match=r"must not be writable by others \(got mode 777\)"):
        Embedded(tmp_path / "open").start()
    assert list((tmp_path / "open").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ServerError, match=r"must let us run a server in it"):
        Embedded(tmp_path / "file" / "data").start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_in_the_foreground_a_signal_ends_it_cleanly(embedded, number):
    process = subprocess.Popen([sys.executable, "-c", RUN, embedded.folder], cwd=ROOT)
    wait_until(embedded.running)
    with pytest.raises(ServerError, match=f"no server yet .got process {embedded.running()['pid']}"):
        embedded.run()
    process.send_signal(number)
    assert process.wait(10) == 0
    assert embedded.running() is None
    assert not (embedded.folder / "server.json").exists()


@pytest.mark.parametrize(("end", "code"), [(Embedded.stop, 0), (kill, 1)])
def test_in_the_foreground_a_stop_is_no_error_and_a_crash_is(embedded, end, code):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", ANNOUNCED, embedded.folder], cwd=ROOT, **pipes)
    assert process.stdout.readline() == b"started\n"
    assert embedded.running()
    end(embedded)
    errors = process.communicate(timeout=10)[1]
    assert process.returncode == code
    assert (b"must run until stopped" in errors) == (code == 1)


def test_a_temporary_server_leaves_nothing_even_after_an_error():
    kept = []
    with suppress(KeyError), temporary() as url, connect(url) as connection:
        kept.append(Path(connection.config_get("dir")["dir"]))
        raise KeyError
    assert not kept[0].exists()
    with pytest.raises(redis.ConnectionError):
        connect(url).ping()
