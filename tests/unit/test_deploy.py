import re
import shutil
import subprocess
import tomllib
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


def checked(command):
    """What a command of a probe checks, as our own program reads it."""
    program, name, *arguments = command
    assert (program, name) == ("learner", "status")
    context = main.make_context("learner", [name, *arguments])
    parameters = status.make_context("status", arguments, parent=context).params
    return parameters["check"], parameters["here"]


def test_the_health_check_is_a_probe_that_our_command_knows():
    yaml = pytest.importorskip("yaml")
    check = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["worker"]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert checked(check["test"][1:]) == ("live", True)
    assert int(check["timeout"].removesuffix("s")) > PROBE_SECONDS


def objects(name):
    """The objects of a file of Kubernetes, by kind."""
    yaml = pytest.importorskip("yaml")
    return {each["kind"]: each for each in yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text())}


def pod_of(name):
    """What the pods of a file are."""
    (pod,) = (each["spec"]["template"]["spec"] for each in objects(name).values() if "template" in each.get("spec", {}))
    return pod


@pytest.mark.parametrize("name", ["create.yaml", "valkey.yaml", "worker.yaml"])
@pytest.mark.parametrize("version", ["1.28", "1.31"])
def test_kubernetes_knows_every_field(name, version):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for each in objects(name).values():
        assert kubernetes_validate.validate(each, version, strict=True) == version


def test_every_file_of_kubernetes_is_checked():
    assert sorted(path.name for path in (DEPLOY / "kubernetes").iterdir()) == [
        "create.yaml",
        "valkey.yaml",
        "worker.yaml",
    ]


@pytest.mark.parametrize("name", ["create.yaml", "valkey.yaml", "worker.yaml"])
def test_pods_have_no_rights_and_a_read_only_root(name):
    pod = pod_of(name)
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["enableServiceLinks"] is pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    assert all("value" not in each for each in container["env"] if "REDIS" in each["name"])  # but from the secret


def test_the_pods_are_of_the_images_user_and_version():
    version = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["version"]
    for name in ("create.yaml", "worker.yaml"):
        pod = pod_of(name)
        assert f"USER {pod['securityContext']['runAsUser']}" in lines("Dockerfile")
        assert pod["containers"][0]["image"].endswith(f"/learner:{version}")


def test_two_pods_share_a_model_and_their_probes_are_for_their_own_worker():
    worker = objects("worker.yaml")
    deployment, budget = worker["Deployment"]["spec"], worker["PodDisruptionBudget"]["spec"]
    pod = deployment["template"]
    assert (deployment["replicas"], budget["minAvailable"]) == (2, 1)
    assert deployment["selector"] == budget["selector"] == {"matchLabels": pod["metadata"]["labels"]}
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    (container,) = pod["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert checked(container[probe]["exec"]["command"]) == ("live", True)  # one that waits is fine, too
        assert container[probe]["timeoutSeconds"] > PROBE_SECONDS


def test_the_pods_options_are_the_workers():
    (container,) = pod_of("worker.yaml")["containers"]
    options = {option.envvar for option in main.get_command(None, "worker").params}
    assert {each["name"] for each in container["env"]} <= options
    assert container["args"] == ["worker", "spam"]


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
    assert text.index("USER 10001") < text.index("RUN learner warm") < text.index("ENTRYPOINT")


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
