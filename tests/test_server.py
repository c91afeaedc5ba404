import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from learner.errors import ServerError
from learner.service import server
from learner.service.server import Embedded, find_or_start

FIND = "import sys; from pathlib import Path; from learner import server; "
FIND += "print(server.find_or_start(folder=Path(sys.argv[1])))"
RUN = "import sys; from pathlib import Path; from learner import server; "
RUN += "sys.exit(server.Embedded(Path(sys.argv[1])).run())"
# the same, with a line once it has started: other processes find the server a moment before
TOLD = """
import sys
from pathlib import Path
from learner.service.server import Embedded

class Told(Embedded):
    def start(self, *arguments, **options):
        url = super().start(*arguments, **options)
        print("started", flush=True)
        return url

sys.exit(Told(Path(sys.argv[1])).run())
"""
ROOT = Path(__file__).parent.parent
WHEEL = str(server._find_binary())


def wait_until(holds, seconds=10):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)


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
    with server.client(find_or_start(folder=embedded.folder)) as connection:
        assert connection.ping()
        assert server.require_version(connection) == embedded.running()["version"]


def test_it_keeps_every_change_and_listens_on_loopback_only(embedded):
    with server.client(embedded.start()) as connection:
        rules = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}
        for name, value in (rules | {"bind": "127.0.0.1", "protected-mode": "yes"}).items():
            assert connection.config_get(name) == {name: value}


def test_it_refuses_whoever_has_no_password(embedded):
    url = embedded.start()
    with pytest.raises(redis.AuthenticationError):
        server.client(f"redis://127.0.0.1:{embedded.running()['port']}").ping()
    assert server.client(url).ping()


def test_a_second_find_shares_the_first_ones_server(embedded):
    assert embedded.start() == Embedded(embedded.folder).start()


def test_commands_that_start_at_once_share_one_server_that_outlives_them(embedded):
    command = [sys.executable, "-c", FIND, embedded.folder]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    urls = {process.communicate(timeout=20)[0].strip() for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert urls == {embedded.start()}
    with server.client(urls.pop()) as connection:
        assert connection.info()["uptime_in_seconds"] < 20


def test_a_killed_server_is_replaced_and_its_data_is_still_there(embedded):
    url = embedded.start()
    with server.client(url) as connection:
        connection.xadd("examples", {"record": "kept"})
    kill(embedded)
    assert embedded.running() is None
    with server.client(embedded.start()) as connection:
        assert connection.xlen("examples") == 1
    assert embedded.start() != url


def test_another_server_at_the_dead_ones_port_is_left_alone(embedded, other):
    embedded.start()
    port = embedded.running()["port"]
    kill(embedded)
    with server.client(other.start(port)) as stranger, server.client(embedded.start()) as ours:
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
    with server.client(embedded.start()) as connection:
        connection.set("key", "value")
    assert embedded.stop()
    assert embedded.running() is None
    assert not (embedded.folder / "server.json").exists()
    assert not embedded.stop()
    with server.client(embedded.start()) as connection:
        assert connection.get("key") == b"value"


def test_looking_leaves_no_trace(embedded):
    assert embedded.running() is None
    assert embedded.stop() is False
    assert not embedded.folder.exists()


def test_what_is_told_of_a_server_holds_no_secret(embedded):
    url = embedded.start()
    told = embedded.running()
    assert set(told) == {"folder", "port", "binary", "started", "pid", "version"}
    assert json.loads((embedded.folder / "server.json").read_text())["password"] in url
    assert not any(value in url for value in told.values() if isinstance(value, str))


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
    assert server.default_folder().parts[-2:] == ("learner", "server")


def test_a_binary_that_dies_is_reported_with_its_reason(embedded, tmp_path, monkeypatch):
    script = 'if [ "$1" = --version ]; then echo "Valkey server v=9.0.0 sha=0"; else echo "no luck today"; exit 1; fi'
    on_path(tmp_path / "bin", monkeypatch, script)
    with pytest.raises(ServerError, match="no luck today"):
        embedded.start()
    assert embedded.running() is None


@pytest.mark.parametrize("version", ["Redis server v=6.2.14 sha=0", "Valkey server v=7.2.8 sha=0", "what?"])
def test_a_server_on_path_that_is_too_old_is_passed_over(tmp_path, monkeypatch, version):
    on_path(tmp_path / "bin", monkeypatch, f"echo '{version}'")
    assert server._find_binary() != tmp_path / "bin" / "valkey-server"
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with pytest.raises(ServerError, match=r"redis-server >= 7\.0 on PATH|as valkey-server >= 8") as error:
        server._find_binary()
    assert version in str(error.value)


def test_a_server_that_loads_its_data_is_waited_for(embedded, tmp_path, monkeypatch):
    with server.client(embedded.start()) as connection:
        pipeline = connection.pipeline(transaction=False)
        for number in range(15000):  # while it loads, it answers after every 1,024 commands
            pipeline.set(f"key{number}", "value")
        pipeline.execute()
    embedded.stop()
    real = shlex.quote(WHEEL)
    slow = f'if [ "$1" = - ]; then (cat; echo key-load-delay 10) | {real} -; else {real} "$@"; fi'
    on_path(tmp_path / "bin", monkeypatch, slow)
    url = embedded.start()
    assert "DB loaded from append only file" in embedded._last_words()
    with server.client(url) as connection:
        assert connection.dbsize() == 15000
    assert embedded.running()["binary"] == str(tmp_path / "bin" / "valkey-server")


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_port_that_another_program_was_quicker_to_take_is_replaced(embedded, taken, monkeypatch):
    ports = iter([taken, server._free_port()])
    monkeypatch.setattr(server, "_free_port", lambda: next(ports))
    with server.client(embedded.start()) as connection:
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
    process = subprocess.Popen([sys.executable, "-c", TOLD, embedded.folder], cwd=ROOT, **pipes)
    assert process.stdout.readline() == b"started\n"
    assert embedded.running()
    end(embedded)
    errors = process.communicate(timeout=10)[1]
    assert process.returncode == code
    assert (b"must run until stopped" in errors) == (code == 1)


def test_a_temporary_server_leaves_nothing_even_after_an_error():
    kept = []
    with suppress(KeyError), server.temporary() as url, server.client(url) as connection:
        kept.append(Path(connection.config_get("dir")["dir"]))
        raise KeyError
    assert not kept[0].exists()
    with pytest.raises(redis.ConnectionError):
        server.client(url).ping()


class Proxy:
    """Passes everything on to a port, but with `drop` swallows the reply to the first XADD and hangs up."""

    def __init__(self, listening, port, drop=False):
        self.listening, self.port, self.drop, self.n_xadds = listening, port, drop, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=self.listening.accept()[:1], daemon=True).start()

    def serve(self, near):
        with near, socket.create_connection(("127.0.0.1", self.port)) as far, suppress(OSError):
            while sent := near.recv(65536):
                far.sendall(sent)
                received = far.recv(65536)
                self.n_xadds += b"XADD" in sent
                if self.drop and b"XADD" in sent and self.n_xadds == 1:
                    return
                near.sendall(received)


def test_a_command_whose_reply_is_lost_is_not_repeated(redis_url, client):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = Proxy(listening, urlsplit(redis_url).port, drop=True)
        url = redis_url.replace(f":{proxy.port}/", f":{listening.getsockname()[1]}/")
        with pytest.raises(redis.ConnectionError):
            server.client(url).xadd("examples", {"record": "once"})
    assert client.xlen("examples") == 1
    assert proxy.n_xadds == 1


def test_a_unix_socket_will_do(redis_url):
    # not in tmp_path, whose length may exceed what a socket's path can have
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/s")
        listening.listen()
        Proxy(listening, urlsplit(redis_url).port)
        with server.client(f"unix://{folder}/s?password={urlsplit(redis_url).password}") as connection:
            assert connection.ping()
        with server.client(f"unix://{folder}/s?password=secret") as connection:
            with pytest.raises(ServerError, match=f"server {folder}/s: must answer INFO") as error:
                server.require_version(connection)
            assert "secret" not in str(error.value)


def test_a_connection_outwaits_the_command_that_blocks(redis_url):
    options = server.client(redis_url, block_ms=2000).connection_pool.connection_kwargs
    assert options["socket_timeout"] == 7
    assert server.client(redis_url).connection_pool.connection_kwargs["socket_timeout"] == 5
    assert server.client(redis_url, block_ms=100).blpop("nothing", timeout=0.1) is None


@pytest.mark.parametrize("url", ["http://ann:secret@host", "redis://ann:secret@host:port", "ann:secret@host"])
def test_a_url_that_is_none_is_refused_without_its_password(url):
    with pytest.raises(ServerError, match="must be redis://") as error:
        server.client(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("info", "found"),
    [
        ({"redis_version": "7.0.0"}, "Redis 7.0.0"),
        ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.0.1"}, "Valkey 8.0.1"),
        ({"redis_version": 10.1}, "Redis 10.1"),
    ],
)
def test_a_recent_server_is_accepted(info, found):
    connection = redis.Redis()
    connection.info = lambda: info
    assert server.require_version(connection) == found


@pytest.mark.parametrize(
    ("info", "found"),
    [
        ({"redis_version": "6.2.14"}, "Redis 6.2.14"),
        ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "7.2.8"}, "Valkey 7.2.8"),
    ],
)
def test_a_server_too_old_is_refused_by_name(info, found):
    connection = redis.Redis(host="example.org", port=7000)
    connection.info = lambda: info
    with pytest.raises(ServerError) as error:
        server.require_version(connection)
    assert str(error.value) == f"server example.org:7000: must be Redis >= 7.0 or Valkey >= 8 (got {found})"


def test_a_server_that_is_not_there_is_reported():
    port = server._free_port()
    with pytest.raises(ServerError, match=rf"server 127\.0\.0\.1:{port}: must answer INFO"):
        server.require_version(server.client(f"redis://127.0.0.1:{port}"))
