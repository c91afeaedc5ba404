"""``learner server``: the embedded server is started, found again and stopped; nothing temporary is left."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from learner.service.store.connection import client as connect
from learner.service.store.embedded import Embedded
from learner.service.wire import Keys
from tests.command_line import invoke, strictly


def test_the_server_is_started_found_again_and_stopped(tmp_path, monkeypatch):
    monkeypatch.setenv("LEARNER_HOME", str(tmp_path))
    try:
        assert invoke("server", "--stop").stdout == "no server was running\n"
        url = invoke("server", "--url").stdout.strip()
        assert invoke("server", "--url").stdout.strip() == url
        invoke("create", "m")  # without a URL the commands find it
        with connect(url) as connection:
            assert connection.exists(Keys("m").spec)
        assert invoke("server", "--stop").stdout == "stopped\n"
        assert not Embedded()._alive()
        assert strictly(invoke("status", "m", "--json").stdout)["model"] == "m"  # started again, with its data
    finally:
        Embedded(tmp_path / "server").stop()


def test_no_temporary_folder_of_ours_is_left(tmp_path):
    code = "from learner.service.store.embedded import temporary\nwith temporary() as url: pass"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []
    assert Path(tempfile.gettempdir()).exists()
