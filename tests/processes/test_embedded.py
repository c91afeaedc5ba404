"""The embedded server: one a folder, found by all, with its data kept."""

import asyncio
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from learner import AsyncClient, Client, Model
from learner.errors import ServerError
from learner.service.store import Store
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


def test_it_keeps_every_change_and_listens_on_its_socket_only(embedded):
    with connect(embedded.start()) as connection:
        rules = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}
        rules |= {"port": "0", "unixsocket": str(embedded.folder / "server.sock"), "unixsocketperm": "600"}
        for name, value in rules.items():
            assert connection.config_get(name) == {name: value}


def test_it_refuses_whoever_has_no_password(embedded):
    url = embedded.start()
    with pytest.raises(redis.AuthenticationError):
        connect(f"unix://{embedded.running()['socket']}").ping()
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
    assert embedded.start() == url


def test_another_server_at_the_dead_ones_port_is_left_alone(embedded, other):
    port = free_port()
    embedded.start(port)
    assert embedded.running()["port"] == port
    kill(embedded)
    with connect(other.start(port)) as stranger, connect(embedded.start()) as ours:
        ours.set("key", "ours")
        assert stranger.dbsize() == 0
        assert stranger.info("stats")["acl_access_denied_auth"] == 0  # it wasn't even asked
    assert "port" not in embedded.running()


def test_a_record_that_leads_to_another_server_is_not_followed(embedded, other):
    embedded.start()
    other.start()
    record = json.loads((embedded.folder / "server.json").read_text())
    strange = json.loads((other.folder / "server.json").read_text())
    (embedded.folder / "server.json").write_text(json.dumps(record | {k: strange[k] for k in ("socket", "password")}))
    with pytest.raises(ServerError, match=r"must be at socket .*/other/server.sock \(got another\)"):
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
    record.write_text(json.dumps({key: whole[key] for key in ("socket", "password", "binary", "started")}))
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
    assert set(shown) == {"folder", "socket", "binary", "started", "pid", "version"}
    assert json.loads((embedded.folder / "server.json").read_text())["password"] in url
    assert json.loads((embedded.folder / "server.json").read_text())["password"] not in json.dumps(shown)


def test_its_files_are_for_the_user_alone(embedded):
    embedded.start()
    modes = {path.name: path.stat().st_mode & 0o777 for path in [embedded.folder, *embedded.folder.rglob("*")]}
    assert {"server.json", "server.address", "server.sock", "server.log", "server.alive", "server.pid"} < set(modes)
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


def test_a_port_that_another_program_has_is_said(embedded, taken):
    with pytest.raises(ServerError, match="Address already in use"):
        embedded.start(taken)


def test_a_folder_that_others_can_write_to_is_refused(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ServerError, match=r"must not be writable by others \(got mode 777\)"):
        Embedded(tmp_path / "open").start()
    assert list((tmp_path / "open").iterdir()) == []


def test_a_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    another = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: another)
    with pytest.raises(ServerError, match=rf"must belong to user {another} \(got {another - 1}\)"):
        Embedded(tmp_path).start()


def test_a_living_client_finds_it_again_after_a_restart(embedded):
    client, asking = Client("m", embedded.start()), AsyncClient("m", embedded.start())
    Store(client.redis, "m").create(Model().to_spec())

    async def exists():
        await asking.require_model()
        kill(embedded)
        with pytest.raises(redis.ConnectionError):
            await asking.require_model()
        embedded.start()
        await asking.require_model()

    asyncio.run(exists())
    client.require_model()
    embedded.stop()
    embedded.start()
    client.require_model()


@pytest.mark.parametrize("name", ["x" * 100, 'with "quotes", \\ and ünï#?% %41'])
def test_a_folder_whose_path_is_long_or_strange_has_a_socket_too(monkeypatch, name):
    with tempfile.TemporaryDirectory(prefix="l-") as short, ended(Path(short) / name) as embedded:
        monkeypatch.setattr(tempfile, "tempdir", short)
        url = embedded.start()
        socket = Path(embedded.running()["socket"])
        assert len(str(socket)) <= module.MAX_SOCKET_BYTES
        assert (socket.parent == embedded.folder) == (len(name) < 100)
        with redis.Redis.from_url(url, socket_timeout=5) as connection:  # as any program opens it
            assert connection.ping()
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        embedded.stop()
        assert embedded.start() == url
        embedded.stop()
        if len(name) == 100:
            socket.parent.rmdir()  # as a cleaner of temporary files does
            assert embedded.start() != url
            Path(embedded.running()["socket"]).parent.chmod(0o777)
            embedded.stop()
            assert str(socket) not in embedded.start()  # others could have put theirs there


def test_a_copy_of_a_folder_has_a_socket_and_a_password_of_its_own(embedded, other):
    url = embedded.start()
    other.folder.mkdir(mode=0o700)
    (other.folder / "server.address").write_text((embedded.folder / "server.address").read_text())
    assert other.start() != url
    assert other.running()["socket"] == str(other.folder / "server.sock")
    assert connect(url).ping()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"folder": 1}', '{"folder": "HERE", "socket": 7, "password": "x"}']
)
def test_a_damaged_address_is_replaced(embedded, text):
    embedded.folder.mkdir(mode=0o700)
    (embedded.folder / "server.address").write_text(text.replace("HERE", str(embedded.folder)))
    with connect(embedded.start()) as connection:
        assert connection.ping()


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
