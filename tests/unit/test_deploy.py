import re
import shutil
import subprocess
from pathlib import Path

import pytest

from learner.commands import main
from learner.commands.models import status
from learner.commands.probes import PROBE_SECONDS

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
UNIT = "learner-worker@.service"


def lines(name):
    """Return the lines of a file that mean something, without indentation."""
    stripped = [line.strip() for line in (DEPLOY / name).read_text().splitlines()]
    return [line for line in stripped if line and not line.startswith("#")]


def test_the_server_keeps_everything():
    settings = lines("compose.yaml")
    for rule in ("appendonly yes", "maxmemory-policy noeviction", "dir /data", "- data:/data"):
        assert rule in settings


def test_the_server_has_a_password_that_is_in_none_of_our_files():
    settings = lines("compose.yaml")
    assert "requirepass ${VALKEY_PASSWORD}" in settings
    assert "REDIS_URL: redis://:${VALKEY_PASSWORD}@valkey:6379/0" in settings
    assert all("${VALKEY_PASSWORD" in line for line in settings if "PASS" in line or "AUTH" in line)


def test_the_worker_waits_for_a_server_that_has_loaded_its_data():
    text = (DEPLOY / "compose.yaml").read_text()
    assert re.search(r"depends_on:\s+valkey:\s+condition: service_healthy", text)
    assert "valkey-cli ping | grep -qx PONG" in text


def test_a_second_worker_may_wait_and_one_that_was_replaced_is_started_again():
    assert not any(line.startswith("container_name") for line in lines("compose.yaml"))
    assert "Restart=on-failure" in lines(UNIT)
    assert [line for line in lines(UNIT) if line.startswith("RestartPrevent")] == ["RestartPreventExitStatus=5"]


def test_the_health_check_is_a_probe_that_our_command_knows():
    yaml = pytest.importorskip("yaml")
    check = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["worker"]["healthcheck"]
    program, command, *arguments = check["test"][1:]
    assert (check["test"][0], program, command) == ("CMD", "learner", "status")
    context = main.make_context("learner", [command, *arguments])
    assert status.make_context("status", arguments, parent=context).params["check"] == "live"
    assert int(check["timeout"].removesuffix("s")) > PROBE_SECONDS


def test_the_last_commit_has_its_time():
    assert "KillSignal=SIGTERM" in lines(UNIT)
    assert "TimeoutStopSec=30" in lines(UNIT)
    assert any(line.startswith("stop_grace_period: 30s") for line in lines("compose.yaml"))


def test_sigterm_reaches_the_worker_and_not_a_shell():
    assert 'ENTRYPOINT ["learner"]' in lines("Dockerfile")
    assert "init: true" in "\n".join(lines("compose.yaml"))


def test_the_image_holds_compiled_loops_in_a_cache_its_user_can_write_to():
    text = "\n".join(lines("Dockerfile"))
    assert "LEARNER_CACHE=/var/cache/learner" in text
    assert "--owner=learner --mode=0700 /var/cache/learner" in text
    assert text.index("USER learner") < text.index("RUN learner warm") < text.index("ENTRYPOINT")


def test_the_image_is_built_from_what_there_is():
    for line in lines("Dockerfile"):
        if line.startswith("COPY") and not line.startswith("COPY --from"):
            for source in line.split()[1:-1]:
                assert (DEPLOY.parent / source).exists(), line


def test_the_unit_gives_each_instance_its_own_cache():
    settings = lines(UNIT)
    assert "CacheDirectory=learner/%i" in settings
    assert "Environment=LEARNER_CACHE=%C/learner/%i PYTHONUNBUFFERED=1" in settings
    assert not any(line.startswith("MemoryDenyWriteExecute") for line in settings)  # numba couldn't compile


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_understands_the_unit(tmp_path):
    program = "/opt/learner/bin/learner"
    text = (DEPLOY / UNIT).read_text()
    assert f"ExecStart={program} worker %i\n" in text
    (tmp_path / UNIT).write_text(text.replace(program, "/bin/true"))
    command = ["systemd-analyze", "verify", str(tmp_path / UNIT)]
    verified = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert (verified.returncode, verified.stdout) == (0, "")


def test_the_compose_file_is_what_it_looks_like():
    yaml = pytest.importorskip("yaml")
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert set(compose["services"]) == {"valkey", "worker"}
    assert compose["services"]["worker"]["command"][0] == "worker"
    assert compose["services"]["valkey"]["configs"][0]["source"] in compose["configs"]
    assert [volume.split(":")[0] for volume in compose["services"]["valkey"]["volumes"]] == list(compose["volumes"])
    assert "maxmemory-policy noeviction" in compose["configs"]["valkey"]["content"].splitlines()
